"""Files set aside after silver has read them: silver is what it would be had they never come."""

import itertools
import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from jobs.bronze import load
from jobs.bronze.set_aside import FilesToExclude, is_all_read
from jobs.gold import refresh as gold
from jobs.gold.refresh import INCREMENTAL
from jobs.gold.verify import verify_view
from jobs.silver import merge
from jobs.silver.merge import Withdrawn
from tailrace.definitions import BatchView, Count, Definitions, Last
from tailrace.lake.commit import amend
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError
from tailrace.shipped.entities import ACTOR
from tests import feeds

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 2, 10, 11, 12, tzinfo=UTC)
T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
EVENT = {"event_id": "e", "event_type": "edit", "actor_id": "u", "document_id": "d"}

# Each file with the load that takes it and when it was written, in seconds: an older one may be taken later.
FILES = {"a.jsonl": (1, 10), "bad@2.jsonl": (1, 20), "b.jsonl": (2, 15), "worse.jsonl": (2, 30)}
ALL = [lines for lines in itertools.product((0, 1, 2), repeat=len(FILES)) if any(lines)]

VIEW = BatchView(
    name="edits",
    entities=(ACTOR,),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="edits", types=("edit",), over=("total",)), Last(name="last_at", types=("edit",))),
)
VIEWS = Definitions(views={VIEW.name: VIEW}, on_demand={}, services={})


def deliveries():
    """By file, what it says of every id: an id for each way in which 0, 1 or 2 lines of it may be in each file.

    No two deliveries agree: the file and the line are in the actor, the document and the time.
    """
    lines: dict[str, list[dict[str, str]]] = {name: [] for name in FILES}
    for number, pattern in enumerate(ALL):
        for (file, name), times in zip(enumerate(FILES), pattern, strict=True):
            for _ in range(times):
                at = NOW - timedelta(hours=file, minutes=len(lines[name]))
                whom = {"actor_id": f"u{(number + file + times) % 7}", "document_id": f"d{len(lines[name])}"}
                lines[name].append(EVENT | whom | {"event_id": f"e{number}", "occurred_at": at.isoformat()})
    return lines


def expected(*, without=()):
    """By event id, the last delivery: files by the time they were written, lines in their order."""
    found = {}
    lines = deliveries()
    for name in sorted(FILES, key=lambda name: FILES[name][1]):
        for number, line in enumerate(lines[name], 1):
            if name not in without:
                found[line["event_id"]] = (line["actor_id"], line["document_id"], line["occurred_at"], name, number)
    return found


def held(lake):
    rows = lake.read(feeds.INTERACTIONS).collect()
    return {
        row.event_id: (row.actor_id, row.document_id, row.occurred_at.astimezone(UTC).isoformat(), row.file, row.line)
        for row in rows
    }


def bring(lake):
    return gold.run(lake, VIEWS, as_of=T)[VIEW.name].how


def changes(before, after):
    replaced = sum(key in after and after[key] != row for key, row in before.items())
    return Withdrawn(replaced=replaced, removed=len(before) - len(after))


@pytest.fixture(scope="module")
def landing(tmp_path_factory):
    return tmp_path_factory.mktemp("landing")


@pytest.fixture(scope="module")
def lake(spark, landing, tmp_path_factory):
    """Two loads that silver and gold have read."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("excluded") / "lake"))
    (landing / "events").mkdir()
    for batch in (1, 2):
        for name in (name for name, (taken_by, _) in FILES.items() if taken_by == batch):
            path = landing / "events" / name
            path.write_text("".join(json.dumps(line) + "\n" for line in deliveries()[name]))
            os.utime(path, (FILES[name][1], FILES[name][1]))
        load.run(lake, feeds.intake(landing), now=NOW)
        merge.merge_unread(lake, feeds.EVENTS)
    merge.merge_unread(lake, feeds.DOCUMENTS)
    bring(lake)
    return lake


def test_silver_and_gold_become_what_they_would_be_had_the_file_never_come_killed_or_not(lake, landing, monkeypatch):
    everything, left = expected(), expected(without=["worse.jsonl"])
    assert held(lake) == everything
    with monkeypatch.context() as patched:
        patched.setattr(merge, "amend", lambda *_, **__: pytest.fail("killed"))
        load.run(lake, feeds.intake(landing), now=NOW, aside=FilesToExclude(("events/worse.jsonl",), "wrong people"))
        with pytest.raises(pytest.fail.Exception, match="killed"):
            merge.merge_unread(lake, feeds.EVENTS)
    assert held(lake) == everything
    assert not is_all_read(lake, feeds.FEEDS)

    assert merge.merge_unread(lake, feeds.EVENTS) == changes(everything, left)

    assert held(lake) == left
    assert bring(lake) == INCREMENTAL
    assert verify_view(lake, VIEWS, VIEW).differing == 0
    version = lake.version(feeds.INTERACTIONS)
    assert merge.merge_unread(lake, feeds.EVENTS) == Withdrawn()
    assert lake.version(feeds.INTERACTIONS) == version


def test_a_name_with_an_at_is_one_and_a_later_delivery_that_came_meanwhile_stays(lake, landing, monkeypatch):
    left = expected(without=["worse.jsonl", "bad@2.jsonl"])
    [later] = [key for key, row in expected(without=["worse.jsonl"]).items() if row[3:] == ("bad@2.jsonl", 1)]

    def overtaken(lake, table, rows, **options):
        newer = lake.read(table).where(f"event_id = '{later}'").selectExpr("* except (file)", "'new.jsonl' as file")
        lake.upsert(table, newer, newer="new.file > old.file", state={"batch": 2})
        amend(lake, table, rows, **options)

    monkeypatch.setattr(merge, "amend", overtaken)
    load.run(lake, feeds.intake(landing), now=NOW, aside=FilesToExclude(("events/bad@2.jsonl",), "wrong people"))
    merge.merge_unread(lake, feeds.EVENTS)

    found = held(lake)
    assert found.pop(later)[3] == "new.jsonl"
    left.pop(later, None)
    assert found == left


def test_a_file_that_says_nothing_last_changes_no_row_and_is_looked_at_once(lake, landing):
    lake.append(bronze.SET_ASIDE, lake.read(bronze.SET_ASIDE).limit(1))
    before = lake.version(feeds.INTERACTIONS)

    assert [merge.merge_unread(lake, feeds.EVENTS) for _ in range(2)] == [Withdrawn()] * 2

    assert lake.version(feeds.INTERACTIONS) == before + 1
    assert bring(lake) == INCREMENTAL


@pytest.mark.parametrize("file", ["events/none.jsonl", "events/bad@3", "events/bad@2.jsonl@7", "events/bad@²", "@1"])
def test_a_name_that_no_load_took_is_refused(lake, landing, file):
    with pytest.raises(LandingError, match="no load has it"):
        load.run(lake, feeds.intake(landing), now=NOW, aside=FilesToExclude((file,), "?"))
