"""What becomes of gold from one refresh to the next, told by cases; random histories are in test_histories."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from delta.tables import DeltaTable

from jobs.gold import refresh
from jobs.gold.verify import verify_view
from tailrace.definitions import Count, Definitions, Distinct, FeatureView, Last, NewestIs
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import AsOfError
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tests import feeds
from tests.tailrace.lake.copies import copied

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
GRID = timedelta(minutes=15)
HOUR = timedelta(hours=1)

EVENT = {"event_id": "e1", "event_type": "view", "actor_id": "u1", "document_id": "d1", "occurred_at": T}
EVENT |= {"source": "drive", "attributes": "{}", "delivered_at": T + GRID, "file": "f", "line": 2, "batch": 3}


def view(name, entities, *lines):
    freshness = timedelta(hours=1)
    return FeatureView(
        name=name, entities=entities, owner="tests", description="", freshness=freshness, aggregations=lines
    )


PAIRS = view("pairs", (ACTOR, DOCUMENT), Count(name="events", over=("1h", "total")))
DOCUMENTS = view(
    "documents",
    (DOCUMENT,),
    Count(name="events", over=("1h", "total")),
    Distinct(name="actors", rows_of="pairs", active="events", over=("1h",)),
    Last(name="last"),
    NewestIs(name="is_deleted", type="delete"),
)
LONGER = replace(PAIRS, aggregations=(Count(name="events", over=("1h", "24h", "total")),))
OTHERS = view("others", (ACTOR,), Count(name="events", over=("1h",)))


@pytest.fixture(scope="module")
def empty(spark, tmp_path_factory):
    lake = Lake(spark, str(tmp_path_factory.mktemp("empty")))
    for table in feeds.DEFINITIONS.silver_tables.values():
        lake.create(table)
    return lake


@pytest.fixture
def silvers(empty, lake):
    return copied(empty, lake)


@pytest.fixture(scope="module")
def refreshed_once(spark, empty, tmp_path_factory):
    """Pairs of one event."""
    lake = copied(empty, Lake(spark, str(tmp_path_factory.mktemp("one") / "lake")))
    deliver(lake, {})
    bring(lake, PAIRS)
    return lake


@pytest.fixture
def one(refreshed_once, lake):
    return copied(refreshed_once, lake)


@pytest.fixture(scope="module")
def refreshed_of_two(spark, empty, tmp_path_factory):
    """Pairs of two documents."""
    lake = copied(empty, Lake(spark, str(tmp_path_factory.mktemp("two") / "lake")))
    deliver(lake, {}, {"event_id": "e2", "document_id": "d2"})
    bring(lake, PAIRS)
    return lake


@pytest.fixture
def two(refreshed_of_two, lake):
    return copied(refreshed_of_two, lake)


def deliver(lake, *changes):
    rows = lake.spark.createDataFrame([tuple((EVENT | change).values()) for change in changes], feeds.INTERACTIONS.ddl)
    lake.upsert(feeds.INTERACTIONS, rows, newer="true", state={})


def bring(lake, *views, as_of=T, full=False):
    definitions = Definitions(views={one.name: one for one in views}, on_demand={}, services={})
    done = refresh.run(lake, definitions, as_of=as_of, full=full)
    verified = [verify_view(lake, definitions, one).differing for one in views]
    return {name: (one.how, one.changed, wrong) for (name, one), wrong in zip(done.items(), verified, strict=True)}


def held(lake, one):
    columns = [*one.keys, *one.feature_names]
    return {tuple(row) for row in lake.read(one.table).select(*columns).collect()}


@pytest.mark.slow
def test_arrivals_late_events_corrections_erasures_and_expiry_reach_gold(silvers):
    deliver(silvers, {}, {"event_id": "e2", "actor_id": "u2", "occurred_at": T - HOUR + GRID})
    assert bring(silvers, PAIRS, DOCUMENTS)["documents"] == ("full", 1, 0)

    deliver(
        silvers, {"event_id": "e3", "occurred_at": T - 2 * HOUR}, {"event_id": "e1", "occurred_at": T - HOUR + GRID}
    )
    assert bring(silvers, PAIRS, DOCUMENTS, as_of=T)["documents"] == ("incremental", 1, 0)
    naive = T.replace(tzinfo=None)
    assert held(silvers, DOCUMENTS) == {("d1", 2, 3, 2, naive - HOUR + GRID, False)}

    assert bring(silvers, PAIRS, DOCUMENTS, as_of=T + GRID)["documents"] == ("incremental", 1, 0)
    assert held(silvers, DOCUMENTS) == {("d1", 0, 3, 0, naive - HOUR + GRID, False)}

    DeltaTable.forPath(silvers.spark, silvers.path(feeds.INTERACTIONS)).delete("event_id <> 'e3'")
    bring(silvers, PAIRS, DOCUMENTS, as_of=T + GRID)
    assert held(silvers, DOCUMENTS) == {("d1", 0, 1, 0, naive - 2 * HOUR, False)}

    DeltaTable.forPath(silvers.spark, silvers.path(feeds.INTERACTIONS)).delete()
    bring(silvers, PAIRS, DOCUMENTS, as_of=T + GRID)
    assert held(silvers, DOCUMENTS) == set()


@pytest.mark.slow
def test_an_event_before_its_time_counts_from_the_refresh_that_reaches_it(silvers):
    deliver(silvers, {"occurred_at": T + GRID})
    bring(silvers, PAIRS)
    assert held(silvers, PAIRS) == set()

    assert bring(silvers, PAIRS, as_of=T + GRID)["pairs"] == ("incremental", 1, 0)
    assert held(silvers, PAIRS) == {("u1", "d1", 1, 1)}


@pytest.mark.slow
def test_a_missed_run_is_made_up_for_in_one_step(one):
    deliver(one, {"event_id": "e2", "occurred_at": T + 3 * HOUR})

    assert bring(one, PAIRS, as_of=T + 5 * HOUR)["pairs"] == ("incremental", 1, 0)
    assert held(one, PAIRS) == {("u1", "d1", 0, 2)}


@pytest.mark.slow
def test_a_redelivery_that_says_the_same_touches_no_row(one):
    deliver(one, {"file": "again", "line": 9})

    assert bring(one, PAIRS, as_of=T)["pairs"] == ("incremental", 0, 0)


@pytest.mark.slow
def test_an_earlier_time_is_refused_unless_all_is_computed_anew(silvers):
    deliver(silvers, {}, {"event_id": "e2", "occurred_at": T - GRID})
    bring(silvers, PAIRS)

    with pytest.raises(AsOfError, match=r"view pairs is already refreshed to .*10:15.*--full"):
        bring(silvers, PAIRS, as_of=T - GRID)
    assert bring(silvers, PAIRS, as_of=T - GRID, full=True)["pairs"] == ("full", 1, 0)
    assert held(silvers, PAIRS) == {("u1", "d1", 1, 1)}
    assert bring(silvers, PAIRS, as_of=T)["pairs"] == ("incremental", 1, 0)


@pytest.mark.slow
def test_a_changed_definition_rebuilds_its_view_and_those_that_depend_on_it(silvers):
    deliver(silvers, {})
    bring(silvers, PAIRS, DOCUMENTS, OTHERS)

    done = bring(silvers, LONGER, DOCUMENTS, OTHERS, as_of=T + GRID)

    assert {name: how for name, (how, _, _) in done.items()} == {
        "pairs": "full",
        "documents": "full",
        "others": "incremental",
    }


@pytest.mark.slow
def test_lost_history_means_a_full_computation_that_says_why(one):
    deliver(one, {"event_id": "e1", "occurred_at": T - HOUR})
    for file in Path(one.path(feeds.INTERACTIONS), "_change_data").glob("*.parquet"):
        file.unlink()

    definitions = Definitions(views={"pairs": PAIRS}, on_demand={}, services={})
    done = refresh.run(one, definitions, as_of=T + GRID)["pairs"]

    assert (done.how, done.changed) == ("full", 1)
    assert done.why is not None
    assert "is gone" in done.why
    assert held(one, PAIRS) == {("u1", "d1", 0, 1)}


@pytest.mark.slow
def test_verify_finds_a_row_that_someone_edited(two):
    DeltaTable.forPath(two.spark, two.path(PAIRS.table)).update("document_id = 'd2'", {"events_1h": "7"})

    verified = verify_view(two, Definitions(views={"pairs": PAIRS}, on_demand={}, services={}), PAIRS)

    assert (verified.rows, verified.differing) == (2, 1)


@pytest.mark.slow
def test_what_somebody_else_wrote_to_gold_is_noticed_and_computed_anew(two):
    path = two.path(PAIRS.table)
    DeltaTable.forPath(two.spark, path).update("document_id = 'd1'", {"events_total": "99L"})

    assert bring(two, PAIRS) == {"pairs": ("full", 1, 0)}


@pytest.mark.slow
def test_features_may_be_named_as_the_columns_of_a_join(silvers):
    odd = view("odd", (DOCUMENT,), Last(name="last"), Last(name="survivor_last"), Last(name="row_index"))
    deliver(silvers, {}, {"event_id": "e2", "occurred_at": T - HOUR})
    bring(silvers, odd)
    DeltaTable.forPath(silvers.spark, silvers.path(feeds.INTERACTIONS)).delete("event_id = 'e1'")

    assert bring(silvers, odd) == {"odd": ("incremental", 1, 0)}
