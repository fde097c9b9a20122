"""How a refresh brings gold forward, and when it does not; what gold has then is proven in `test_generated_definitions`."""

import re
from dataclasses import asdict, replace
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
from tests.jobs.silver.deliveries import deliver

pytestmark = pytest.mark.slow

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
GRID = timedelta(minutes=15)
HOUR = timedelta(hours=1)

EVENT = {"event_id": "e1", "event_type": "view", "actor_id": "u1", "document_id": "d1", "occurred_at": T}
EVENT |= {"source": "drive", "attributes": "{}"}


def view(name, entities, *lines):
    return FeatureView(name=name, entities=entities, owner="tests", description="", freshness=HOUR, aggregations=lines)


PAIRS = view("pairs", (ACTOR, DOCUMENT), Count(name="events", over=("1h", "total")))
DOCUMENTS = view(
    "documents",
    (DOCUMENT,),
    Count(name="events", over=("1h", "total")),
    Distinct(name="actors", rows_of="pairs", active="events", over=("1h",)),
    Last(name="last"),
    NewestIs(name="is_deleted", type="delete"),
)
OTHERS = view("others", (ACTOR,), Count(name="events", over=("1h",)))
LONGER = replace(PAIRS, aggregations=(Count(name="events", over=("1h", "24h", "total")),))


class Story:
    """A lake that goes through refresh after refresh; each is kept as how and how many rows of every view changed."""

    def __init__(self, lake):
        self.lake = lake
        lake.create(feeds.DOCUMENT_FACTS)
        self.deliver({}, {"event_id": "e2", "document_id": "d2", "occurred_at": T - GRID})
        self.first = self.bring(PAIRS, DOCUMENTS, OTHERS)
        pins = {table.full_name: asdict(lake.pin(table)) for table in (feeds.INTERACTIONS, PAIRS.table)}
        self.inputs = lake.state(DOCUMENTS.table).values["inputs"], pins
        self.deliver({"file": "again", "line": 9})
        self.again = self.bring(PAIRS, DOCUMENTS)
        self.go_back()
        self.redefined = self.bring(LONGER, DOCUMENTS, OTHERS, as_of=T + GRID)
        self.be_edited()
        self.lose_history()

    def deliver(self, *changes):
        deliver(self.lake, feeds.INTERACTIONS, [EVENT | change for change in changes])

    def go_back(self):
        with pytest.raises(AsOfError) as refusal:
            self.bring(PAIRS, as_of=T - GRID)
        self.refusal = str(refusal.value)
        self.earlier = self.bring(PAIRS, as_of=T - GRID, full=True), self.has(PAIRS)
        self.later = self.bring(PAIRS)

    def be_edited(self):
        gold = DeltaTable.forPath(self.lake.spark, self.lake.path(LONGER.table))
        gold.update("document_id = 'd1'", {"events_total": "99L"})
        self.edited = self.differing(LONGER)
        self.repaired = self.refreshed(LONGER, as_of=T + GRID)["pairs"]
        self.edited_after = self.differing(LONGER)

    def lose_history(self):
        self.deliver({"occurred_at": T - HOUR})
        for file in Path(self.lake.path(feeds.INTERACTIONS), "_change_data").rglob("*.parquet"):
            file.unlink()
        self.without_history = self.refreshed(LONGER, as_of=T + GRID)["pairs"]

    def refreshed(self, *views, as_of=T, full=False):
        definitions = Definitions(views={one.name: one for one in views}, on_demand={}, services={})
        return refresh.run(self.lake, definitions, as_of=as_of, full=full)

    def bring(self, *views, **options):
        return {name: (one.how, one.changed) for name, one in self.refreshed(*views, **options).items()}

    def has(self, one):
        return {tuple(row) for row in self.lake.read(one.table).select(*one.keys, *one.feature_names).collect()}

    def differing(self, one):
        return verify_view(self.lake, Definitions(views={one.name: one}, on_demand={}, services={}), one).differing


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    return Story(Lake(spark, str(tmp_path_factory.mktemp("story") / "lake")))


def test_a_view_is_computed_from_the_rows_that_its_base_view_has_in_the_same_refresh(story):
    read, pinned = story.inputs
    assert read == pinned


def test_a_redelivery_that_says_the_same_touches_no_row(story):
    assert story.first == {"pairs": ("full", 2), "documents": ("full", 2), "others": ("full", 1)}
    assert story.again == {"pairs": ("incremental", 0), "documents": ("incremental", 0)}


def test_an_earlier_time_is_refused_unless_all_is_computed_anew(story):
    assert re.search(r"view pairs is already refreshed to .*10:15.*--full", story.refusal)
    assert story.earlier == ({"pairs": ("full", 1)}, {("u1", "d2", 1, 1)})
    assert story.later == {"pairs": ("incremental", 1)}


def test_a_changed_definition_rebuilds_its_view_and_those_that_depend_on_it(story):
    assert {name: how for name, (how, _) in story.redefined.items()} == {
        "pairs": "full",
        "documents": "full",
        "others": "incremental",
    }


def test_a_row_that_someone_edited_is_found_and_the_view_computed_anew(story):
    done = story.repaired

    assert (story.edited, story.edited_after) == (1, 0)
    assert (done.how, done.changed, done.why) == ("full", 1, "something else than a refresh wrote to it")


def test_lost_history_means_a_full_computation_that_says_why(story):
    done = story.without_history

    assert (done.how, done.changed) == ("full", 1)
    assert "is gone" in done.why
    assert story.has(LONGER) == {("u1", "d1", 0, 1, 1), ("u1", "d2", 1, 1, 1)}
