"""A source that is declared otherwise than before: its tables follow, or the change is refused before anything is loaded."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from jobs.bronze import load
from jobs.bronze.load import Intake
from jobs.silver import merge
from tailrace.definitions import Definitions, EventSource, Field, Time, Type
from tailrace.errors import DefinitionError
from tailrace.lake.tables import Lake
from tailrace.quality.gate import Gate
from tests.jobs.bronze.landed import LATER, NOW, blocked_by

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STRING, INT64 = Type.STRING, Type.INT64
BEFORE = EventSource(
    name="searches",
    id="search_id",
    time=Time("ts"),
    fields=(
        Field("query", STRING, required=True, pattern="[a-z]+"),
        Field("rank", INT64, required=True, minimum=0),
        Field("device", STRING),
        Field("lang", STRING),
    ),
)
AFTER = replace(
    BEFORE,
    fields=(
        Field("query", STRING, required=True, pattern="[a-z ]+"),  # takes more than before
        Field("device", STRING, required=True),
        Field("lang", STRING, pattern="[a-z]{2}"),  # takes less
        Field("site", STRING),  # new, and rank is gone
    ),
)
LINE = {"ts": "2026-03-01T09:08:07Z", "query": "shoes", "rank": 1, "site": "x"}
REFUSED = {
    "another type": (replace(BEFORE, fields=(*BEFORE.fields[:3], Field("lang", INT64))), ["'lang'", "bigint", "string"]),
    "another type of the time": (replace(BEFORE, id=("ts", "search_id"), time=Time("at"), fields=(Field("ts", STRING), *BEFORE.fields)), ["'ts'", "string", "timestamp"]),
    "another id": (replace(BEFORE, id="lang"), ["'lang'", "silver.searches"]),
    "a digest in place of an id": (replace(BEFORE, id=None), ["'row_id'", "silver.searches"]),
}  # fmt: skip


def feed_of(source):
    return Definitions(views={}, on_demand={}, services={}, declared=(source,)).feeds[0]


class Home:
    """A home whose one source is declared anew now and then."""

    def __init__(self, spark, folder):
        self.lake = Lake(spark, str(folder / "lake"), gate=Gate(folder / "quality"))
        self.landing = folder / "landing"
        (self.landing / "searches").mkdir(parents=True)
        (self.landing / "serches").mkdir()
        (self.landing / "_old").mkdir()

    def land(self, name, *changes):
        lines = "".join(
            json.dumps({"search_id": f"{name}{number}"} | LINE | one) + "\n" for number, one in enumerate(changes)
        )
        (self.landing / "searches" / f"{name}.jsonl").write_text(lines)

    def load(self, source, *, now=NOW):
        feed = feed_of(source)
        loaded = load.run(self.lake, Intake(folder=str(self.landing), feeds=(feed,)), now=now)
        merge.merge_unread(self.lake, feed)
        return loaded

    def silver(self, *columns):
        rows = self.lake.read(feed_of(BEFORE).silver).select("search_id", *columns).collect()
        return {row.search_id: tuple(row)[1:] for row in rows}


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    home = Home(spark, tmp_path_factory.mktemp("home"))
    home.land("a", {}, {"lang": "English", "device": "tv"}, {"more": 1, "rank": 2}, {"rank": "x", "other": 1})
    first = home.load(BEFORE)
    refused = {}
    for case, (source, _) in REFUSED.items():
        version = home.lake.version(feed_of(BEFORE).table)
        home.land(f"of {case}", {"device": "tv"})
        refused[case] = str(blocked_by(home.load(source), DefinitionError, feed="searches"))
        assert home.lake.version(feed_of(BEFORE).table) == version
        (home.landing / "searches" / f"of {case}.jsonl").unlink()
    home.land(
        "b", {"device": "tv", "query": "red shoes", "lang": "en", "rank": None}, {}, {"device": "tv", "lang": "English"}
    )
    home.land("c", {"search_id": "a0", "device": "tablet"})
    second = home.load(AFTER, now=LATER)
    third = home.load(AFTER, now=LATER)
    return SimpleNamespace(home=home, first=first, second=second, third=third, refused=refused)


@pytest.mark.parametrize("case", REFUSED)
def test_a_change_that_cannot_be_is_refused_by_names_and_types_before_a_load(story, case):
    assert "'searches'" in story.refused[case]
    assert [name for name in REFUSED[case][1] if name not in story.refused[case]] == []


def test_a_new_field_is_null_in_rows_of_before_and_a_gone_one_in_those_of_after(story):
    found = story.home.silver("rank", "site", "device", "lang", "query")

    assert found == {
        "a0": (None, "x", "tablet", None, "shoes"),  # delivered again
        "a1": (1, None, "tv", "English", "shoes"),
        "a2": (2, None, None, None, "shoes"),
        "b0": (None, "x", "tv", "en", "red shoes"),
    }


def test_rules_that_take_less_hold_for_lines_that_land_from_then_on(story):
    quarantined = {row.reason for row in story.home.lake.spark.read.format("delta").load(f"{story.home.lake.root}/bronze/quarantine").collect()}  # fmt: skip

    assert quarantined == {"rank is not a whole number", "device is missing", "lang does not match [a-z]{2}"}
    assert (story.second.rows, story.second.quarantined) == ({"searches": 2}, 2)


def test_a_change_is_followed_once(story):
    versions = [story.home.lake.version(table) for table in (feed_of(AFTER).table, feed_of(AFTER).silver)]
    story.home.load(AFTER, now=LATER)

    assert [story.home.lake.version(table) for table in (feed_of(AFTER).table, feed_of(AFTER).silver)] == versions
    assert story.third.files == 0


def test_fields_that_no_source_names_are_counted_in_usable_lines(story):
    assert story.first.json()["extra_fields"] == {"searches": {"site": 3, "more": 1}}
    assert story.second.json()["extra_fields"] == {"searches": {"rank": 2}}
    assert "extra_fields" not in story.third.json()


def test_a_folder_that_no_source_reads_is_reported_by_each_load(story):
    assert [one.json()["unread_folders"] for one in (story.first, story.third)] == [["serches"]] * 2


def test_a_declaration_that_is_taken_back_leaves_the_tables_with_its_own_rules(spark, tmp_path):
    home = Home(spark, tmp_path)
    wide, narrow = (replace(BEFORE, fields=(Field("rank", INT64, maximum=most),)) for most in (100, 5))
    home.land("a", {"rank": 1})
    home.load(wide)
    home.load(narrow)  # nothing lands under it

    home.land("b", {"rank": 50})
    home.load(wide)

    assert home.silver("rank") == {"a0": (1,), "b0": (50,)}
