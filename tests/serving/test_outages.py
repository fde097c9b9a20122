"""A store that fails, hangs or is gone for a while: every answer comes in its time, and all is well afterwards."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serving.read import controls
from serving.read.controls import Controls
from serving.telemetry.metrics import Counters, SharedMetrics
from tailrace.shipped.actor_activity import actor_activity
from tailrace.store import embedded
from tailrace.store.dynamodb.calls import open_client
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tests.serving.conftest import Store

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ASKED = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0"]}}
BUDGET = {"Tailrace-Budget-Ms": "200"}
DOWN_SECONDS, UP_SECONDS = 15.0, 30.0  # the reader promises 5 and 10
OUTAGE_SECONDS = 1.5


async def hang(_):
    await asyncio.Event().wait()  # whoever waited for this answer would wait for ever


async def reset(request):
    request.transport.abort()
    await asyncio.Event().wait()


async def dawdle(_):
    await asyncio.sleep(0.5)


class Weather:
    """What becomes of requests to the store just now; nothing while there is no storm."""

    def __init__(self):
        self.storm = None

    async def misbehave(self, request, *_):
        return None if self.storm is None else await self.storm(request)


@pytest.fixture
def weather():
    return Weather()


@pytest.fixture
def proxy(behind, weather):
    return behind(weather.misbehave)


@pytest.fixture
def reader(store, proxy, start_reader, definitions):
    for view in definitions.views.values():
        store.push(view, watermark=NINE)
    store.put(actor_activity, {"actor_id": "a0"}, {"events_7d": 7}, as_of=NINE)
    return start_reader(definitions, proxy.url)


@pytest.fixture
def calm_probes(monkeypatch, fresh_probes):
    """Probes as they are outside of tests, but for how long they wait for a store that hangs."""
    monkeypatch.setattr(controls, "FRESH_SECONDS", 1.0)
    monkeypatch.setattr(controls, "READ_SECONDS", 0.5)


def ask(reader):
    """The status of the answer, and of its value where it has one."""
    status, answer = reader.send("POST", "/get-online-features", json=ASKED, headers=BUDGET)
    return status, answer["results"][-1]["statuses"][0] if status == 200 else answer["detail"]


def until(happened, *, within):
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def ask_for(reader, seconds):
    """Everything that is answered while time passes."""
    answers = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answers.add(ask(reader))
    return answers


@pytest.mark.parametrize("storm", [hang, reset], ids=["hangs", "resets"])
def test_ready_follows_the_store(reader, weather, calm_probes, storm):
    assert reader.get("/ready")[0] == 200

    weather.storm = storm
    until(lambda: reader.get("/ready")[0] == 503, within=DOWN_SECONDS)
    weather.storm = None
    until(lambda: reader.get("/ready")[0] == 200, within=UP_SECONDS)


def test_many_probes_read_the_store_once_a_second(store, proxy, definitions, calm_probes):
    now, reads = [100.0], list[int]()

    async def probe():
        async with open_client(url=proxy.url, region="us-east-1", table=store.settings.store.table) as client:
            known = Controls(DynamoStore(client), definitions, Counters(SharedMetrics(1)), clock=lambda: now[0])
            for second in (100.0, 100.999, 101.0, 101.5, 103.0):
                now[0] = second
                for _ in range(3):
                    await asyncio.gather(*(known.be_fresh() for _ in range(30)))
                reads.append(len(proxy.asked))

    store.runner.run(probe())

    assert reads == [1, 1, 2, 2, 3]


def test_probes_share_a_reading_that_is_under_way(reader, proxy, weather):
    weather.storm = dawdle
    before = len(proxy.asked)

    async def probe():
        return await asyncio.gather(*(reader.exchange("GET", "/ready") for _ in range(30)))

    answers = reader.runner.run(probe())

    assert {status for status, _ in answers} == {200}
    assert len(proxy.asked) - before <= 2


@pytest.mark.parametrize(
    ("storm", "told"), [(hang, (200, "TIMEOUT")), (reset, (503, None)), (dawdle, (200, "TIMEOUT"))]
)
def test_every_answer_comes_in_time_while_the_store_does_not_answer(reader, weather, storm, told):
    assert ask(reader) == (200, "PRESENT")

    weather.storm = storm
    answers = ask_for(reader, OUTAGE_SECONDS)
    weather.storm = None
    until(lambda: ask(reader) == (200, "PRESENT"), within=UP_SECONDS)

    status, value = told
    assert answers
    assert {one for one, _ in answers} <= {200, 503}
    assert {one for one in answers if one[0] == 200} <= {(200, "TIMEOUT")}
    assert status in {one for one, _ in answers}
    assert value is None or (status, value) in answers


@pytest.fixture
def own_store(tmp_path, settings, runner):
    """A store that nobody else uses, with a value in it."""
    own = replace(settings, home=tmp_path)
    url = embedded.start(own).url

    opened = open_client(url=url, region=own.store.region, table=own.store.table)
    client = runner.run(opened.__aenter__())
    runner.run(ensure_table(client))
    Store(own, runner, client).put(actor_activity, {"actor_id": "a0"}, {"events_7d": 7}, as_of=NINE)
    runner.run(opened.__aexit__(None, None, None))
    yield own
    embedded.stop(own)


@pytest.mark.parametrize("seconds", [OUTAGE_SECONDS, pytest.param(60, marks=pytest.mark.soak)])
def test_a_store_that_is_gone_for_a_while_is_read_again_when_it_is_back(own_store, start_reader, definitions, seconds):
    reader = start_reader(definitions, embedded.store_url(own_store))
    before = ask(reader)

    embedded.stop(own_store)
    during = ask_for(reader, seconds)
    embedded.start(own_store)
    until(lambda: ask(reader) == (200, "PRESENT"), within=UP_SECONDS)

    assert before == (200, "PRESENT")
    assert {status for status, _ in during} <= {200, 503}
    assert (200, "PRESENT") not in during
