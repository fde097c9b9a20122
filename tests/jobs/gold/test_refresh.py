from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs.gold import refresh
from jobs.gold.refresh import ConcurrentRefreshError
from jobs.gold.verify import verify_view
from tailrace.definitions import BatchView, Count, Definitions, Feature, Type
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake, LakeError
from tailrace.schemas.slots import AsOfError, to_text
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tests import feeds
from tests.tailrace.lake.copies import copied

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
GRID = timedelta(minutes=15)

DOCUMENT_ROW = {"document_id": "d1", "title": "Plan", "type": "pdf", "size_bytes": 7, "folder": "/a", "owner": "u3"}
DOCUMENT_ROW |= {"updated_at": T, "delivered_at": T + GRID, "file": "f", "line": 4, "batch": 5}

EVENT = {"event_id": "e1", "event_type": "view", "actor_id": "u1", "document_id": "d1", "occurred_at": T}
EVENT |= {"source": "drive", "attributes": "{}", "delivered_at": T + GRID, "file": "f", "line": 2, "batch": 3}


def copy(documents):
    return documents.withColumn("rate", documents.size_bytes.cast("double") / 2)


FACTS = BatchView(
    name="facts",
    entities=(DOCUMENT,),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    transform=copy,
    transform_features=(Feature("owner", Type.STRING, "owner"), Feature("size_bytes", Type.INT64, "size")),
)
WITH_TITLE = replace(FACTS, transform_features=(Feature("title", Type.STRING, "title"), *FACTS.transform_features))
WHOLE = replace(FACTS, name="halves", transform_features=(Feature("rate", Type.INT64, "half the size"),), transform=lambda documents: copy(documents).withColumn("rate", documents.size_bytes))  # fmt: skip
WRITTEN = replace(
    FACTS,
    name="written",
    lane="direct",
    transform=None,
    transform_features=(),
    written_features=FACTS.transform_features,
)
HALVES = replace(FACTS, name="halves", transform_features=(Feature("rate", Type.FLOAT64, "half the size"),))

PAIRS = BatchView(
    name="pairs",
    entities=(ACTOR, DOCUMENT),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="events", over=("1h",)),),
)


def definitions(*views):
    return Definitions(views={view.name: view for view in views}, on_demand={}, services={})


def hold(lake, table, row, *changes):
    """Let a silver table hold just these rows."""
    lake.create(table)
    rows = small_frame(lake.spark, [tuple((row | change).values()) for change in changes], table.ddl)
    rows.write.format("delta").mode("overwrite").save(lake.path(table))


def hold_documents(lake, **owner_and_size):
    rows = [{"document_id": name, "owner": owner, "size_bytes": size} for name, (owner, size) in owner_and_size.items()]
    hold(lake, feeds.DOCUMENT_FACTS, DOCUMENT_ROW, *rows)


def bring(lake, *views, as_of=T):
    """Refresh; what came of the first view as (rows, changed)."""
    done = refresh.run(lake, definitions(*views), as_of=as_of)
    assert set(done) == {view.name for view in views if view != WRITTEN}
    return done[views[0].name].gold_rows, done[views[0].name].changed


def held(lake, view):
    return {tuple(row) for row in lake.read(view.table).collect()}


FIRST = {"same": ("u1", 1), "filled": ("u1", None), "emptied": (None, 3), "other": ("u1", 4), "gone": ("u1", 5)}
SECOND = {"same": ("u1", 1), "filled": ("u1", 2), "emptied": (None, None), "other": ("u2", 4), "new": ("u1", 6)}
SECOND |= {"null": (None, None)}
FIRST |= {"null": (None, None)}


class Story:
    """One view through several refreshes, beside one that others write: rows and changed of each, and the version after it."""

    def __init__(self, lake):
        self.lake = lake
        hold(lake, feeds.INTERACTIONS, EVENT, {})
        hold_documents(lake, **FIRST)
        self.first = self.bring(T)
        hold_documents(lake, **SECOND)
        self.second = self.bring(T)
        self.again = self.bring(T)
        self.moved = self.bring(T + 2 * GRID)

    def bring(self, as_of):
        return bring(self.lake, FACTS, WRITTEN, as_of=as_of), self.lake.version(FACTS.table)

    def changes(self, version):
        rows = self.lake.changes(FACTS.table, start=version, end=version).collect()
        return sorted((row.document_id, row._change_type) for row in rows)


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    lake = Lake(spark, str(tmp_path_factory.mktemp("lake")))
    return Story(lake)


def test_a_first_refresh_fills_the_table(story):
    assert story.first[0] == (6, 6)


def test_a_view_that_is_written_by_others_is_passed_by(story):
    assert not story.lake.exists(replace(FACTS, name=WRITTEN.name).table)


def test_a_refresh_counts_its_rows_and_the_keys_it_changed(story):
    assert story.second[0] == (6, 5)
    assert held(story.lake, FACTS) == {(name, *values) for name, values in SECOND.items()}


def test_rows_that_are_equal_are_not_touched_and_a_null_differs_from_a_value(story):
    changed = ("emptied", "filled", "other")
    images = [(name, kind) for name in changed for kind in ("update_postimage", "update_preimage")]
    assert story.changes(story.second[1]) == sorted([*images, ("gone", "delete"), ("new", "insert")])


def test_the_same_as_of_with_nothing_new_commits_nothing(story):
    assert story.again == ((6, 0), story.second[1])


def test_unchanged_inputs_move_the_state_and_no_row(story):
    figures, version = story.moved

    assert (figures, version) == ((6, 0), story.again[1] + 1)
    assert story.changes(version) == []
    assert story.lake.state(FACTS.table).values["as_of"] == "2026-03-02T10:45:00Z"


def test_an_as_of_before_the_one_held_is_refused_with_the_time_held(story):
    with pytest.raises(AsOfError, match=r"facts is already refreshed to 2026-03-02T10:45:00Z, after 2026-03-02T10:30:00Z"):  # fmt: skip
        bring(story.lake, FACTS, as_of=T + GRID)

    assert story.lake.version(FACTS.table) == story.moved[1]


def test_an_as_of_off_the_grid_is_refused_with_its_neighbours(lake):
    with pytest.raises(AsOfError, match=r"2026-03-02T10:15:00Z and 2026-03-02T10:30:00Z"):
        bring(lake, FACTS, as_of=T + timedelta(microseconds=1))


def test_gold_without_silver_is_refused(lake):
    with pytest.raises(LakeError, match=r"silver\.interactions does not exist"):
        bring(lake, FACTS)


@pytest.fixture(scope="module")
def three_documents(spark, tmp_path_factory):
    """Silver of three documents and one event."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("three") / "lake"))
    hold(lake, feeds.INTERACTIONS, EVENT, {})
    hold_documents(lake, d1=("u1", 1), d2=("u2", 2), d3=("u3", 3))
    return lake


@pytest.fixture
def silvers(three_documents, lake):
    return copied(three_documents, lake)


@pytest.mark.slow
def test_a_table_whose_columns_or_types_are_not_the_declared_ones_is_replaced(silvers):
    bring(silvers, FACTS, WHOLE)

    assert bring(silvers, WITH_TITLE, HALVES) == (3, 3)

    assert silvers.read(FACTS.table).columns == ["document_id", "title", "owner", "size_bytes"]
    assert held(silvers, WITH_TITLE) == {(f"d{n}", "Plan", f"u{n}", n) for n in (1, 2, 3)}
    assert silvers.read(HALVES.table).schema["rate"].dataType.simpleString() == "double"
    assert held(silvers, HALVES) == {("d1", 0.5), ("d2", 1.0), ("d3", 1.5)}


def test_keys_stay_not_null_when_a_table_is_filled(story):
    assert not story.lake.read(FACTS.table).schema["document_id"].nullable


@pytest.mark.slow
def test_gold_of_the_version_before_goes_on_and_gets_the_fingerprint_of_this_one(silvers, monkeypatch):
    with monkeypatch.context() as former:
        former.setattr(Definitions, "fingerprint", Definitions.former_fingerprint)
        bring(silvers, PAIRS)
    before = silvers.state(PAIRS.table).values["definition"]
    assert verify_view(silvers, definitions(PAIRS), PAIRS).differing == 0

    done = refresh.run(silvers, definitions(PAIRS), as_of=T + GRID)["pairs"]

    assert (done.how, done.why, done.changed) == ("incremental", None, 0)
    assert silvers.state(PAIRS.table).values["definition"] == definitions(PAIRS).fingerprint(PAIRS) != before


class Overtaken(Lake):
    """A lake in which another refresh brings gold to a later time between the look at a table and the commit."""

    def __init__(self, lake, *views):
        super().__init__(lake.spark, lake.root)
        self.views = views

    def pin(self, table, *, version=None):
        seen = super().pin(table, version=version)
        if table.layer == "gold":
            bring(Lake(self.spark, self.root), *self.views, as_of=T + 3 * GRID)
        return seen


@pytest.mark.slow
def test_a_refresh_by_difference_that_another_one_overtook_commits_nothing(silvers):
    bring(silvers, FACTS)
    hold_documents(silvers, d1=("u1", 10), d2=("u2", 2))

    with pytest.raises(ConcurrentRefreshError, match="view facts: another refresh wrote it at the same time"):
        bring(Overtaken(silvers, FACTS), FACTS)

    assert silvers.state(FACTS.table).values["as_of"] == to_text(T + 3 * GRID)
    assert held(silvers, FACTS) == {("d1", "u1", 10), ("d2", "u2", 2)}


@pytest.mark.slow
def test_an_increment_that_another_refresh_overtook_is_not_added_twice(silvers):
    bring(silvers, PAIRS)
    hold(silvers, feeds.INTERACTIONS, EVENT, {}, {"event_id": "e2"}, {"event_id": "e3", "occurred_at": T + 2 * GRID})

    with pytest.raises(ConcurrentRefreshError, match="view pairs: another refresh wrote it at the same time"):
        bring(Overtaken(silvers, PAIRS), PAIRS, as_of=T + GRID)

    assert held(silvers, PAIRS) == {("u1", "d1", 3, 3)}
    assert bring(silvers, PAIRS, as_of=T + 4 * GRID) == (1, 1)
    assert held(silvers, PAIRS) == {("u1", "d1", 1, 3)}
