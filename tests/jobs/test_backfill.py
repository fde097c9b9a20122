"""Past values go to the history as they would have been pushed, once, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from jobs import backfill
from jobs.backfill import BackfillError
from jobs.gold.compute import compute
from sinks import history as pushes
from sinks.net_changes import decided, first_load
from tailrace.definitions import DIRECT, BatchView, Count, DefinitionError, Definitions, Distinct, Last
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import view_tables
from tailrace.schemas.slots import to_micros
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tailrace.store.codec import meaning
from tests import feeds
from tests.jobs.gold.test_refresh import EVENT, FACTS, hold
from tests.tailrace.lake.copies import copied

T = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
GRID = timedelta(minutes=15)

PAIRS = BatchView(
    name="pairs",
    entities=(ACTOR, DOCUMENT),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="events", over=("1h",)), Last(name="last_at")),
    online_when="events_1h > 0",
)
READERS = replace(
    PAIRS,
    name="readers",
    entities=(DOCUMENT,),
    aggregations=(Distinct(name="readers", rows_of="pairs", active="events", over=("1h",)), Last(name="last_at")),
    online_when=None,
)
VIEWS = Definitions(views={"pairs": PAIRS, "readers": READERS}, on_demand={}, services={})


THREE = (
    {"event_id": "e1", "actor_id": "u1", "occurred_at": T},
    {"event_id": "e2", "actor_id": "u2", "occurred_at": T + timedelta(minutes=20)},
    {"event_id": "e3", "actor_id": "u1", "occurred_at": T + timedelta(minutes=70)},
)
SAME_AGAIN = tuple(event | {"delivered_at": T + 2 * GRID} for event in THREE)


@pytest.fixture(scope="module")
def three(spark, tmp_path_factory):
    """A silver of three interactions: two of one pair, an hour apart, and one of another."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("three")))
    lake.create(feeds.DOCUMENT_FACTS)
    hold(lake, feeds.INTERACTIONS, EVENT, *THREE)
    return lake


@pytest.fixture
def told(three, lake):
    return copied(three, lake)


def run(lake, times, *, id_="b1", views=VIEWS, progress=lambda _: None):
    chosen = backfill.views_to_backfill(views, [])
    return backfill.run(lake, views, chosen, times, id_=id_, progress=progress)


def recorded(lake, view, *, id_="b1"):
    """Every value that a backfill recorded, as (key, time, what the value means), None standing for a removal."""
    rows = lake.read(view_tables.history_table(view.name)).where(
        (F.col("backfill") == id_) & F.col("item_key").isNotNull()
    )
    rows = rows.select("item_key", "value", F.unix_micros("as_of").alias("at")).collect()
    return {(row.item_key, row.at): row.value and meaning(bytes(row.value)) for row in rows}


def state_at(found, as_of):
    """What recorded values say at a time."""
    state = {}
    for (key, at), value in sorted(found.items(), key=lambda one: one[0][1]):
        if at <= to_micros(as_of):
            state[key] = value
    return {key: value for key, value in state.items() if value is not None}


def pushed_at(lake, view, as_of):
    """What a first push at a time would write."""
    pins = {table.full_name: lake.pin(table) for table in feeds.DEFINITIONS.silver_tables.values()}
    base_rows = {
        name: compute(lake, VIEWS, VIEWS.batch_views[name], pins, as_of=as_of, base_rows={}) for name in view.base_views
    }
    rows = compute(lake, VIEWS, view, pins, as_of=as_of, base_rows=base_rows)
    written = decided(first_load(rows, view), view, suppress=False, as_of=to_micros(as_of)).collect()
    return {row.item_key: meaning(bytes(row.value)) for row in written}


def open_keys(lake):
    keys = pushes.open_keys(lake, PAIRS, after=None)
    return [] if keys is None else [row.item_key for row in keys.collect()]


# One pair is there, gone, there again with another event, and gone; the other one comes and goes meanwhile.
TIMES = [T, T + 4 * GRID, T + 6 * GRID, T + 9 * GRID]


@pytest.fixture(scope="module")
def whole(three, spark, tmp_path_factory):
    """A lake with a backfill of all times, and its figures."""
    lake = copied(three, Lake(spark, str(tmp_path_factory.mktemp("whole") / "lake")))
    return lake, run(lake, TIMES)


def recorded_until(whole, view, until):
    """What the whole backfill recorded of times up to this one."""
    return {(key, at): value for (key, at), value in recorded(whole[0], view).items() if at <= to_micros(until)}


@pytest.mark.slow
def test_each_time_is_recorded_as_a_push_would_have_written_it_and_nothing_else_is_touched(whole):
    lake, done = whole

    for view in VIEWS.batch_views.values():
        found, times = recorded(lake, view), TIMES if view is PAIRS else TIMES[1:3]
        assert [state_at(found, as_of) for as_of in times] == [pushed_at(lake, view, as_of) for as_of in times]
    pairs = recorded(lake, PAIRS)
    assert len(pairs) == done["pairs"].recorded == 6
    assert done["pairs"].removed == list(pairs.values()).count(None) == 3
    assert (done["pairs"].times, done["pairs"].done_before) == (4, 0)
    assert sorted(path.name for path in Path(lake.root).iterdir()) == ["history", "silver"]
    schemas = {(row.view, row.schema, row.definition, row.backfill) for row in lake.read(view_tables.SCHEMAS).collect()}
    assert schemas == {(one.name, one.fingerprint, VIEWS.fingerprint(one), "b1") for one in VIEWS.views.values()}


@pytest.mark.slow
def test_a_backfill_that_was_killed_goes_on_and_a_finished_one_does_nothing(told, whole):
    times = TIMES[:2]
    seen = []

    def die(what):
        seen.append(what)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(told, times, progress=die)
    hold(told, feeds.INTERACTIONS, EVENT, *SAME_AGAIN)  # silver moves meanwhile
    done = run(told, times)

    assert (done["pairs"].done_before, done["readers"].done_before) == (2, 1)
    for view in VIEWS.batch_views.values():
        assert recorded(told, view) == recorded_until(whole, view, times[-1])
    before = told.version(view_tables.history_table("pairs"))
    again = run(told, times)
    assert (again["pairs"].times, again["pairs"].done_before) == (0, 2)
    assert told.version(view_tables.history_table("pairs")) == before


@pytest.mark.slow
def test_of_one_backfill_that_runs_twice_at_once_everything_is_recorded_once(told, whole):
    times = TIMES[:2]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(lambda: run(told.in_own_session(), times)) for _ in range(2)]
        assert all(one.result() for one in both)

    for view in VIEWS.batch_views.values():
        assert recorded(told, view) == recorded_until(whole, view, times[-1])
        rows = told.read(view_tables.history_table(view.name)).where("backfill = 'b1' AND item_key IS NULL")
        assert rows.count() == len(times)


@pytest.mark.slow
def test_an_id_is_of_one_range_and_one_definition(whole):
    lake, _ = whole

    with pytest.raises(BackfillError, match="view pairs: backfill 'b1' has recorded other times"):
        run(lake, TIMES[1:3])
    changed = Definitions(
        views={"pairs": replace(PAIRS, aggregations=(*PAIRS.aggregations, Count(name="all", over=("total",))))},
        on_demand={},
        services={},
    )
    with pytest.raises(BackfillError, match="or those of another definition"):
        run(lake, TIMES, views=changed)


@pytest.mark.slow
def test_pushes_see_nothing_of_backfills_also_in_a_history_from_before_there_were_any(told):
    table = view_tables.history_table("pairs")
    old = replace(table, fields=table.fields[:6])  # neither backfills, names of pushes nor acknowledgements
    told.append(old, small_frame(told.spark, [(7, "k", b"v", T, T, None)], old.ddl))
    assert (pushes.last_sequence(told, PAIRS), open_keys(told)) == (7, ["k"])

    run(told, TIMES[:1], views=Definitions(views={"pairs": PAIRS}, on_demand={}, services={}))

    assert told.read(table).where("backfill = 'b1'").count() > 0
    assert pushes.last_sequence(told, PAIRS) == 7
    assert open_keys(told) == ["k"]
    pushes.record(
        told, PAIRS, told.spark.sql("SELECT 'k' item_key, x'00' value, 'write' action"), sequence=8, push="me", as_of=0
    )
    asked = [(7, "me"), (8, "me"), (8, "another"), (view_tables.NO_PUSH, "me")]
    assert [pushes.has_record(told, PAIRS, number, push=push) for number, push in asked] == [False, True, False, False]


def test_only_views_that_have_past_values_are_backfilled():
    written = replace(PAIRS, name="scores", lane=DIRECT, aggregations=(), written_features=(), online_when=None)
    views = Definitions(views={"pairs": PAIRS, "facts": FACTS, "scores": written}, on_demand={}, services={})

    assert list(backfill.views_to_backfill(views, [])) == ["pairs"]
    with pytest.raises(BackfillError, match="view facts has no past values: its transform takes no as_of"):
        backfill.views_to_backfill(views, ["facts"])
    with pytest.raises(BackfillError, match="view scores has no past values: it is written directly"):
        backfill.views_to_backfill(views, ["scores"])
    with pytest.raises(DefinitionError, match="there is no view 'none'"):
        backfill.views_to_backfill(views, ["none"])
