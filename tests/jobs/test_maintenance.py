"""Maintenance beside refreshes and pushes: what they need stays, and what they do at once ends well."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from shutil import copytree
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.errors import PySparkException

from jobs import maintenance
from jobs.gold import refresh
from jobs.gold.refresh import ConcurrentRefreshError
from jobs.gold.verify import verify_view
from jobs.maintenance import Maintained, is_vacuum_due
from sinks import history
from sinks.protocol import CHANGES
from sinks.push import push_view
from sinks.reconcile import GoldSource, Reconciled, reconcile
from tailrace.definitions import BatchView, Count, Definitions, Distinct, Feature, Type
from tailrace.lake import maintenance as tables
from tailrace.lake.tables import Lake
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tailrace.store.address import Address
from tailrace.store.embedded import store_url
from tests import feeds

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
GRID = timedelta(minutes=15)

EVENT = {"event_id": "e1", "event_type": "view", "actor_id": "u1", "document_id": "d1", "occurred_at": T}
EVENT |= {"source": "drive", "attributes": "{}", "delivered_at": T + GRID, "file": "f", "line": 2, "batch": 3}

PAIRS = BatchView(
    name="pairs",
    entities=(ACTOR, DOCUMENT),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="events", over=("1h", "total")),),
)
READERS = replace(
    PAIRS,
    name="readers",
    entities=(DOCUMENT,),
    aggregations=(
        Count(name="events", over=("1h",)),
        Distinct(name="readers", rows_of="pairs", active="events", over=("1h",)),
    ),
)
OWNERS = replace(
    PAIRS,
    name="owners",
    entities=(DOCUMENT,),
    aggregations=(),
    transform=lambda documents: documents.select("document_id", "owner"),
    transform_features=(Feature("owner", Type.STRING, "owner"),),
)
OF_DOCUMENTS = Definitions(views={"owners": OWNERS}, on_demand={}, services={})
VIEWS = Definitions(views={"pairs": PAIRS, "readers": READERS}, on_demand={}, services={})
INCREMENTAL = {"pairs": "incremental", "readers": "incremental"}


def reconciled(lake, store):
    return reconcile(GoldSource(lake=lake, address=store, view=PAIRS))["pairs"]


def open_lake(spark, root):
    """Keeps nothing that its newest versions do not read, unless someone needs it."""
    return Lake(spark, str(root), retention=timedelta(0))


def make_lake(spark, root):
    """Its silver tables are empty."""
    lake = open_lake(spark, root)
    for table in feeds.DEFINITIONS.silver_tables.values():
        lake.create(table)
    return lake


@pytest.fixture
def lake(spark, tmp_path):
    return make_lake(spark, tmp_path / "lake")


@pytest.fixture
def store(make_settings):
    settings = make_settings()
    return Address(
        url=store_url(settings),
        region="us-east-1",
        table="tailrace",
        in_flight=2,
        writes="transactions",
        lease_seconds=30,
    )


@pytest.fixture
def unreachable():
    return Address(
        url="http://127.0.0.1:9",
        region="us-east-1",
        table="tailrace",
        in_flight=2,
        writes="transactions",
        lease_seconds=30,
    )


def deliver(lake, *changes):
    rows = lake.spark.createDataFrame([tuple((EVENT | change).values()) for change in changes], feeds.INTERACTIONS.ddl)
    lake.upsert(feeds.INTERACTIONS, rows, newer="true", state={"batch": 1})


def bring(lake, *, as_of=T):
    """Refresh both views; how each was done."""
    return {name: one.how for name, one in refresh.run(lake, VIEWS, as_of=as_of).items()}


def differing(lake):
    """How many rows of gold a full computation has otherwise."""
    return sum(verify_view(lake, VIEWS, view).differing for view in VIEWS.batch_views.values())


def push(lake, store):
    return push_view(lake, store, PAIRS).how


def held_by(maintained):
    return maintained.held_by or "nobody"


def jobs(lake):
    return lake.spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()


@pytest.fixture(scope="module")
def refreshed_once(spark, tmp_path_factory):
    lake = make_lake(spark, tmp_path_factory.mktemp("refreshed") / "lake")
    deliver(lake, {}, {"event_id": "e2", "actor_id": "u2"})
    bring(lake)
    deliver(lake, {"event_id": "e3"}, {"event_id": "e4", "actor_id": "u2", "document_id": "d2"})
    assert bring(lake, as_of=T + GRID) == INCREMENTAL
    for number in range(2):
        row = (f"d{number}", "title", "pdf", 1, "/a", f"u{number}", T, T, "f", number, number)
        documents = lake.spark.createDataFrame([row], feeds.DOCUMENT_FACTS.ddl)
        lake.upsert(feeds.DOCUMENT_FACTS, documents, newer="true", state={})
        refresh.run(lake, OF_DOCUMENTS, as_of=T + number * GRID)
    return lake.root


@pytest.fixture
def refreshed(spark, tmp_path, refreshed_once):
    """Gold after two refreshes, the second of which changed rows of the first."""
    return open_lake(spark, copytree(refreshed_once, tmp_path / "lake"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_compaction_and_vacuum_refreshes_and_pushes_go_on_from_what_they_need(refreshed, store, monkeypatch):
    push(refreshed, store)
    monkeypatch.setattr(tables, "SMALL_FILES", 2)

    first = maintenance.run(refreshed, VIEWS, store)
    single = "history.schemas"  # which has no two files to be merged
    assert all(one.files_after == 1 < one.files_before for name, one in first.items() if name != single)
    # Nothing is kept for its age here: what the compaction replaced is held by those who stand before it.
    assert "the state of gold.pairs, the state of gold.readers" in held_by(first["silver.interactions"])

    cursor = refreshed.version(PAIRS.table) - 1  # before the compaction
    deliver(refreshed, {"event_id": "e5", "actor_id": "u3"})
    assert bring(refreshed, as_of=T + 2 * GRID) == INCREMENTAL
    monkeypatch.setattr(tables, "SMALL_FILES", 99)
    second = maintenance.run(refreshed, VIEWS, store)
    held = {name: held_by(one) for name, one in second.items() if one.held_by}
    assert held == {
        "gold.pairs": f"version {cursor} is older than the retention and needed by the online store's cursor"
    }
    # Nothing was replaced there, or nobody held it the first time.
    others = (single, "gold.pairs", "history.pairs", "silver.documents")
    assert all(one.removed_files > 0 for name, one in second.items() if name not in others)

    assert push(refreshed, store) == CHANGES
    [pairs] = vacuumed(refreshed, store)
    assert (pairs.held_by, pairs.removed_files > 0) == (None, True)
    deliver(refreshed, {"event_id": "e6", "actor_id": "u3"}, {"event_id": "e1", "occurred_at": T - GRID})
    assert bring(refreshed, as_of=T + 3 * GRID) == INCREMENTAL
    assert differing(refreshed) == 0
    assert push(refreshed, store) == CHANGES
    assert reconciled(refreshed, store) == Reconciled(compared=4, missing=0, ghost=0, different=0)
    assert maintenance.schemas_lost(refreshed, VIEWS, store) == {}


def vacuumed(lake, store):
    """What maintenance does with the pairs alone."""
    return maintenance.maintain(lake, VIEWS, store, [PAIRS.table], wants_vacuum=lambda _: True, to_open=0).values()


@pytest.mark.slow
def test_a_state_holds_silver_and_the_finer_view_that_it_was_computed_from(refreshed, store, tmp_path, monkeypatch):
    deliver(refreshed, {"event_id": "e5"})
    refresh.run(refreshed, Definitions(views={"pairs": PAIRS}, on_demand={}, services={}), as_of=T + 2 * GRID)
    deliver(refreshed, {"event_id": "e5", "occurred_at": T - GRID})

    done = maintenance.run(refreshed, VIEWS, store)

    assert held_by(done["silver.interactions"]).endswith("needed by the state of gold.readers")
    assert held_by(done["gold.pairs"]).endswith("needed by the state of gold.readers")
    assert (done["gold.readers"].held_by, done["gold.readers"].removed_files > 0) == (None, True)
    copy = open_lake(refreshed.spark, copytree(refreshed.root, tmp_path / "copy"))
    assert bring(refreshed, as_of=T + 3 * GRID) == INCREMENTAL

    # A version that the log no longer leads on from holds nothing.
    monkeypatch.setattr(maintenance, "can_go_on_from", lambda *_: False)
    [pairs] = vacuumed(copy, store)
    assert (pairs.held_by, pairs.removed_files > 0) == (None, True)


@pytest.mark.slow
def test_a_refresh_after_which_nothing_is_due_costs_no_spark_job(refreshed, unreachable):
    """Nor is the store asked: it cannot be reached here."""
    before = jobs(refreshed)

    done = maintenance.run_due(refreshed, VIEWS, unreachable, since={})

    assert (done, jobs(refreshed)) == ({}, before)


@pytest.mark.slow
def test_what_became_due_during_a_refresh_is_done_and_told(refreshed, store, monkeypatch):
    since = maintenance.versions(refreshed, VIEWS)
    monkeypatch.setattr(tables, "SMALL_FILES", 2)
    monkeypatch.setattr(maintenance, "VACUUM_EVERY", since["silver.interactions"] + 1)
    deliver(refreshed, {"event_id": "e5"})

    done = maintenance.run_due(refreshed, VIEWS, store, since=since)

    assert list(done) == ["silver.interactions"]
    told = done["silver.interactions"]
    assert (told.files_after, told.files_before > 1, told.failure) == (1, True, None)
    assert "needed by the state of gold.pairs" in held_by(told)


def test_a_history_that_cannot_be_read_is_named_and_keeps_no_other_from_its_record(monkeypatch, caplog):
    asked = []
    nothing: Any = None

    def account(_, view, *, known):
        asked.append((view.name, known))
        if view is PAIRS:
            raise PySparkException("a file is gone\nand more")

    monkeypatch.setattr(maintenance, "controls_of", lambda *_: {})
    monkeypatch.setattr(history, "account_for_older", account)
    monkeypatch.setattr(history, "lost_schemas", lambda _: {"readers": ["00ab"]})

    assert maintenance.schemas_lost(nothing, VIEWS, nothing) == {"readers": ["00ab"]}
    assert asked == [("pairs", ()), ("readers", ())]
    [line] = caplog.messages
    assert "history.pairs" in line
    assert "a file is gone" in line


@pytest.mark.parametrize(
    ("since", "version", "due"),
    [(0, 95, False), (95, 96, True), (96, 97, False), (96, 191, False), (190, 193, True), (5, 400, True)],
)
def test_a_vacuum_is_due_where_a_table_passes_a_multiple(since, version, due):
    assert is_vacuum_due(since, version) is due


@pytest.mark.slow
def test_nothing_is_removed_while_the_store_cannot_say_what_it_needs(refreshed, unreachable):
    done = maintenance.run(refreshed, VIEWS, unreachable)

    assert all("online store" in str(one.failure) for one in done.values())
    assert {one.removed_files for one in done.values()} == {0}
    assert done["gold.pairs"].files_before == done["gold.pairs"].files_after > 1


def test_a_failure_is_worth_telling_and_a_table_left_as_it_was_is_not():
    assert not Maintained(files_before=3, files_after=3).is_worth_telling
    assert Maintained(files_before=3, files_after=3, failure="x").is_worth_telling
    assert Maintained(files_before=3, files_after=3, held_by="x").is_worth_telling
    assert Maintained(files_before=3, files_after=1).is_worth_telling


class Compacted(Lake):
    """A lake in which another process compacts a gold table between the look at it and the commit."""

    def pin(self, table, *, version=None):
        seen = super().pin(table, version=version)
        if table in (PAIRS.table, OWNERS.table):
            self.spark.newSession().sql(f"OPTIMIZE delta.`{self.path(table)}`").collect()
        return seen


@pytest.mark.slow
def test_a_refresh_that_a_compaction_overtakes_commits_nothing_says_so_and_is_run_again(refreshed):
    """Whether it adds what came to what gold holds, or compares gold with all rows."""
    deliver(refreshed, {"event_id": "e5"})
    DeltaTable.forPath(refreshed.spark, refreshed.path(feeds.DOCUMENT_FACTS)).update(set={"owner": "'u9'"})
    compacted, before = Compacted(refreshed.spark, refreshed.root), refreshed.version(OWNERS.table)

    with pytest.raises(ConcurrentRefreshError, match="view pairs: another refresh wrote it"):
        bring(compacted, as_of=T + 2 * GRID)
    with pytest.raises(ConcurrentRefreshError, match="view owners: another refresh wrote it"):
        refresh.run(compacted, OF_DOCUMENTS, as_of=T + 2 * GRID)

    assert refreshed.version(OWNERS.table) == before + 1  # the compaction
    assert bring(refreshed, as_of=T + 2 * GRID) == INCREMENTAL
    assert differing(refreshed) == 0
    assert refresh.run(refreshed, OF_DOCUMENTS, as_of=T + 2 * GRID)["owners"].changed == 2
    assert verify_view(refreshed, OF_DOCUMENTS, OWNERS).differing == 0
