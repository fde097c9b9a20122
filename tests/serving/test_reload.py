"""New definitions are served after SIGHUP while rankers ask, and broken ones are not."""

import asyncio
import itertools
import json
import shutil
import signal
import urllib.error
import urllib.request
from datetime import UTC, datetime
from functools import partial

import pytest

from serving.engine import CURRENT
from tailrace.definitions import load_definitions
from tests.serving.processes import served, until
from tests.serving.rankers import Rankers

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
DEFINED = """
from datetime import timedelta

from tailrace.shipped.entities import ACTOR
from tailrace.definitions import DIRECT, Feature, FeatureView, Type, on_demand

scores = FeatureView(
    name="scores", entities=(ACTOR,), owner="tests", description="", freshness=timedelta(hours=1), lane=DIRECT,
    written_features=({features}),
)


@on_demand(type=Type.INT64, inputs=("scores:score",), owner="tests", description="")
def raised(score):
    return score + {more}
"""
BONUS = 'Feature("bonus", Type.INT64, ""),'
TAKEN, REFUSED = (f'tailrace_reader_reloads_total{{outcome="{one}"}}' for one in ("taken", "refused"))
SCORE = 'Feature("score", Type.INT64, ""),'
BROKEN = (
    ("scores = (", "SyntaxError"),
    ("import no_such_module", "ModuleNotFoundError"),
    (DEFINED.format(features=SCORE, more=1).replace('owner="tests"', 'owner=""', 1), "say who answers"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Definitions that readers of this module serve."""
    folder = tmp_path_factory.mktemp("definitions")
    (folder / "scores.py").write_text(DEFINED.format(features=SCORE, more=1))
    return folder


@pytest.fixture
def define(folder, tmp_path):
    """Write the definitions, and give the view as it is defined then."""
    numbers = itertools.count()

    def write(*, features=SCORE, more=1):
        (folder / "scores.py").write_text(DEFINED.format(features=features, more=more))
        copy = tmp_path / f"copy-{next(numbers)}"  # in a folder that is new to this process
        shutil.copytree(folder, copy)
        return load_definitions([str(copy)]).views["scores"]

    return write


@pytest.fixture(scope="module")
def shared(module_store, folder, tmp_path_factory):
    with served(module_store.settings, tmp_path_factory.mktemp("reader"), FEATURES=f"shipped:{folder}") as reader:
        yield reader


@pytest.fixture
def running(shared, module_store, define):
    """A reader of two workers that serves what is defined at first, whatever another test had it load."""
    view = define()
    if ask(shared, "scores:bonus")[0] == 200:
        reload(shared)
    module_store.put(view, {"actor_id": "a0"}, {"score": 7}, as_of=NINE)
    module_store.push(view, watermark=NINE)
    return shared


def ask(running, feature, actor="a0"):
    """The answer's status, and the value of a feature of an actor."""
    body = json.dumps({"features": [feature], "entities": {"actor_id": [actor]}}).encode()
    try:
        with urllib.request.urlopen(f"{running.address}/get-online-features", body, timeout=20) as answer:
            return answer.status, json.load(answer)["results"][-1]["values"][0]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["detail"]


def definitions_of(running, asked=20):
    """The fingerprints that workers tell; so many questions reach both of two."""
    return {running.get("/features")[1]["definitions"] for _ in range(asked)}


def reload(running):
    """Have the definitions loaded anew, and wait until all workers have done so."""
    before = definitions_of(running)
    running.process.send_signal(signal.SIGHUP)
    until(lambda: len(now := definitions_of(running)) == 1 and now != before)


def test_a_feature_that_is_added_is_served_and_no_request_fails(running, module_store, define):
    async def reload_while_asked():
        async with Rankers(running.address).asking(kept=4) as rankers:
            for more in (10, 20):
                await rankers.answered(50)
                store_view = define(features=SCORE + BONUS, more=more)
                await asyncio.to_thread(reload, running)
            await rankers.answered(50)
        return rankers, store_view

    assert ask(running, "scores:bonus")[0] == 400
    assert ask(running, "raised") == (200, 8)
    workers, said, reloads = running.workers(), len(running.errors), running.metric(TAKEN)

    rankers, view = asyncio.run(reload_while_asked())
    module_store.put(view, {"actor_id": "a1"}, {"score": 7, "bonus": 3}, as_of=NINE)

    assert (rankers.failures, rankers.refused) == ([], 0)
    assert ask(running, "scores:bonus", actor="a1") == (200, 3)
    assert ask(running, "raised") == (200, 27)
    assert running.workers() == workers
    assert running.metric(TAKEN) == reloads + 2
    assert ["all workers serve definitions" in line for line in running.errors[said:].splitlines()] == [True, True]


def test_values_written_under_the_schema_of_before_are_served_after_a_reload(running, define):
    define(features=SCORE + BONUS)
    reload(running)

    assert ask(running, "scores:score") == (200, 7)
    assert ask(running, "scores:bonus") == (200, None)


def test_broken_files_leave_the_old_definitions_serving(running, folder):
    before, said, refused = definitions_of(running), len(running.errors), running.metric(REFUSED)

    for number, (broken, reason) in enumerate(BROKEN, 1):
        (folder / "scores.py").write_text(broken)
        running.process.send_signal(signal.SIGHUP)
        until(partial(is_refused, running, refused + number))
        assert reason in running.errors.splitlines()[-1]

    assert definitions_of(running) == before
    assert ask(running, "raised") == (200, 8)
    assert running.errors[said:].count("the definitions stay as they were") == len(BROKEN)
    assert running.errors[said:].count(str(folder / "scores.py")) >= len(BROKEN)


def is_refused(running, times):
    return running.metric(REFUSED) == times


def test_a_definition_that_never_loads_does_not_keep_the_reader_from_stopping(
    settings, store, define, folder, tmp_path
):
    define()
    with served(settings, tmp_path, workers=1, FEATURES=str(folder)) as running:
        (folder / "scores.py").write_text("import time; time.sleep(600)")
        running.process.send_signal(signal.SIGHUP)
        until(lambda: len(running.workers()) == 2)  # one more process, which tries them

        running.process.terminate()

        assert running.process.wait(20) == 0


def test_what_is_known_of_a_view_stays_known_where_the_store_is_gone_during_a_reload(
    store, behind, start_reader, definitions
):
    gone = False

    async def hang_once_gone(*_):
        if gone:
            await asyncio.sleep(30)

    store.push(definitions.views["actor_activity"], watermark=NINE)
    reader = start_reader(definitions, behind(hang_once_gone).url)
    current = reader.client.app[CURRENT]
    before, gone = current.engine, True

    reader.runner.run(current.use(definitions))

    assert current.engine is not before
    assert "did not answer" in current.engine.controls.failure
    assert list(current.engine.controls.watermarks()) == ["actor_activity"]
