"""Files that the quality gate stops, and what becomes of the rest when they are set aside."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from jobs.bronze import load
from jobs.bronze.set_aside import FilesToExclude, is_all_read, waiting_files
from jobs.silver import merge
from tailrace.lake.tables import Lake
from tailrace.quality.gate import Gate, GateFailed
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError
from tests import feeds
from tests.jobs.bronze.landed import blocked_by

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 2, 10, 11, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)


def event(number, **changed):
    base = {"event_id": str(number), "event_type": "edit", "actor_id": "u1", "document_id": "d1"}
    return json.dumps(base | {"occurred_at": "2026-03-01T09:08:07Z"} | changed)


@pytest.fixture
def gated(lake, tmp_path):
    return Lake(lake.spark, lake.root, gate=Gate(tmp_path / "quality"))


@pytest.fixture
def landing(tmp_path):
    (tmp_path / "landing" / "events").mkdir(parents=True)
    return tmp_path / "landing"


def land(landing, name, *lines):
    (landing / "events" / name).write_text("".join(line + "\n" for line in lines))


def land_a_lost_clock(landing):
    land(landing, "clock.jsonl", *(event(number, occurred_at="1970-01-01T00:00:00Z") for number in range(200)))


def ids(lake, table):
    return {row.event_id for row in lake.read(table).select("event_id").collect()} if lake.exists(table) else set()


class Story:
    """A file that stops two loads is set aside, and then once more."""

    def __init__(self, lake, landing):
        aside = FilesToExclude(("events/clock.jsonl",), "its clock was lost")
        land(landing, "good.jsonl", event("good"))
        land_a_lost_clock(landing)
        self.failed = []
        for _ in range(2):
            self.failed.append(blocked_by(load.run(lake, feeds.intake(landing), now=NOW), GateFailed))
        self.ids_before = ids(lake, feeds.BRONZE_EVENTS)
        land(landing, "later.jsonl", event("later"))
        self.loaded = load.run(lake, feeds.intake(landing), now=LATER, aside=aside)
        self.again = load.run(lake, feeds.intake(landing), now=LATER)
        self.ids = ids(lake, feeds.BRONZE_EVENTS)
        self.quarantine = lake.read(bronze.QUARANTINE).select("file", "line", "reason").collect()
        merge.merge_unread(lake, feeds.EVENTS)
        self.once_more = load.run(lake, feeds.intake(landing), now=LATER, aside=aside)
        self.set_aside = lake.read(bronze.SET_ASIDE).count()


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "landing" / "events").mkdir(parents=True)
    return Story(Lake(spark, str(home / "lake"), gate=Gate(home / "quality")), home / "landing")


def test_a_bad_load_goes_no_further_and_names_its_file(story):
    for failed in story.failed:  # and no later one passes it by
        assert "expected 50% of the rows to have occurred_at >= '1990-01-01': observed 200 of 201 rows" in str(failed)
        assert failed.files == ("events/clock.jsonl",)
    assert story.ids_before == set()


def test_the_rest_goes_on_when_the_file_is_set_aside_and_the_file_never_does(story):
    assert (story.loaded, story.again) == (feeds.loaded(files=3, events=2, quarantined=1), feeds.loaded())
    assert story.ids == {"good", "later"}
    assert [tuple(row) for row in story.quarantine] == [("clock.jsonl", None, "set aside: its clock was lost")]


def test_setting_aside_once_more_changes_nothing(story):
    assert story.once_more == feeds.loaded()
    assert story.set_aside == 1


def test_of_several_deliveries_of_one_name_the_one_to_set_aside_has_to_be_said(gated, landing):
    """What is set aside here is in bronze already, and is kept from silver, which was there before it."""
    load.run(gated, feeds.intake(landing), now=NOW)
    before_silver = is_all_read(gated, feeds.FEEDS)
    for feed in (feeds.EVENTS, feeds.DOCUMENTS):
        merge.merge_unread(gated, feed)
    assert (before_silver, is_all_read(gated, feeds.FEEDS)) == (False, True)
    land(landing, "latest.jsonl", event("one"))
    load.run(gated, feeds.intake(landing), now=NOW)
    land(landing, "latest.jsonl", event("two"), event("three"))
    land(landing, "other.jsonl", event("four"))
    load.run(gated, feeds.intake(landing), now=NOW)

    with pytest.raises(LandingError, match=r"events/latest\.jsonl@1, events/latest\.jsonl@2"):
        load.run(gated, feeds.intake(landing), now=LATER, aside=FilesToExclude(("events/latest.jsonl",), "bad"))
    bad = FilesToExclude(("events/latest.jsonl@2", "events/other.jsonl"), "not meant to be sent")
    load.run(gated, feeds.intake(landing), now=LATER, aside=bad)
    merge.merge_unread(gated, feeds.EVENTS)

    assert ids(gated, feeds.INTERACTIONS) == {"one"}
    assert waiting_files(gated, feeds.FEEDS) == {}


def test_a_load_of_nothing_but_files_that_are_set_aside_ends(gated, landing):
    land_a_lost_clock(landing)
    blocked_by(load.run(gated, feeds.intake(landing), now=NOW), GateFailed)

    loaded = load.run(gated, feeds.intake(landing), now=LATER, aside=FilesToExclude(("events/clock.jsonl",), "lost"))

    assert (loaded, load.run(gated, feeds.intake(landing), now=LATER)) == (
        feeds.loaded(files=1, quarantined=1),
        feeds.loaded(),
    )


def test_a_file_that_is_mended_and_landed_again_is_taken(gated, landing):
    land_a_lost_clock(landing)
    blocked_by(load.run(gated, feeds.intake(landing), now=NOW), GateFailed)
    land(landing, "clock.jsonl", event("mended"))

    with pytest.raises(LandingError, match=r"events/nothing\.jsonl cannot be set aside.*wait are events/clock\.jsonl"):
        load.run(gated, feeds.intake(landing), now=LATER, aside=FilesToExclude(("events/nothing.jsonl",), "?"))
    load.run(gated, feeds.intake(landing), now=LATER, aside=FilesToExclude(("events/clock.jsonl",), "mended"))

    assert ids(gated, feeds.BRONZE_EVENTS) == {"mended"}


def test_most_lines_being_refused_stops_a_load_and_a_few_do_not(gated, landing):
    land(landing, "few.jsonl", event("a"), *["{"] * 98)
    assert load.run(gated, feeds.intake(landing), now=NOW) == feeds.loaded(files=1, events=1, quarantined=98)

    land(landing, "many.jsonl", event("b"), *["{"] * 150)
    failed = blocked_by(load.run(gated, feeds.intake(landing), now=LATER), GateFailed)

    assert re.search(r"landing\.events.*\n.*column='reason'.*observed 150 of 151 rows", str(failed))
    assert failed.files == ("events/many.jsonl",)
