from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.bronze import listing, load
from jobs.bronze.listing import LandedFile, Listing, not_loaded
from tailrace.lake import storage
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tests import feeds
from tests.jobs.bronze.landed import (
    FUTURE,
    LATER,
    NOW,
    WRITTEN,
    claim_everything,
    event,
    land,
    land_parquet,
    rows,
    truncate,
)

EMPTY = feeds.loaded()


def land_damaged_parquet(path):
    """One whose foot says what is in it, and whose rows cannot be read."""
    land_parquet(path, *(f"no{number}" for number in range(100)))
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 400 + content[404:])


def jobs_of(lake):
    """So many jobs Spark has had so far."""
    return lake.spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs()


def refuse_to_read(*_):
    raise AssertionError("a file was read")


class Story:
    """Three loads of one landing folder, and what lay in bronze after each."""

    def __init__(self, lake, folder):
        self.lake, self.folder = lake, folder
        self.events = folder / "events"
        self.land_first_files()
        self.first = load.run(lake, feeds.intake(folder), now=NOW)
        self.first_events = rows(lake, feeds.BRONZE_EVENTS, "event_id", "file", "line", "batch")
        self.first_quarantine = lake.read(bronze.QUARANTINE).collect()
        before = jobs_of(lake)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(storage, "sha256", refuse_to_read)
            patch.setattr(storage, "unpack", refuse_to_read)
            self.again = load.run(lake, feeds.intake(folder), now=NOW)
        self.jobs_of_again = jobs_of(lake) - before
        self.land_more_files()
        landed = Listing.of(lake, str(folder), feeds.FEEDS).files["events"]
        self.not_loaded = not_loaded(lake, "events", landed)
        self.second = load.run(lake, feeds.intake(folder), now=LATER)

    def land_first_files(self):
        land(self.events / "good.jsonl", event("e1"), "", "broken", event("e2", actor_id=""))
        land(self.events / "two words" / "more.jsonl.gz", event("e3"))
        land(self.events / "touched.jsonl", event("e5"))
        land_parquet(self.events / "rows.parquet", "e4")
        land(self.folder / "documents" / "d.jsonl", '{"id":"d1","title":"Plan"}', '{"id":"d2","size":-5}')
        land(self.events / "cut.jsonl.gz", event("no1"))
        truncate(self.events / "cut.jsonl.gz")
        land_parquet(self.events / "cut.parquet", "no2")
        truncate(self.events / "cut.parquet")
        land_damaged_parquet(self.events / "damaged.parquet")
        land(self.events / "plain.jsonl.gz")
        (self.events / "plain.jsonl.gz").write_text(event("no3"))
        land(self.events / "notes.txt", event("no4"))
        land(self.events / "at 10:30.jsonl", event("no5"))
        land(self.folder / "outside.jsonl", event("no6"))
        (self.events / "link.jsonl").symlink_to(self.folder / "outside.jsonl")
        land(self.events / "writing.jsonl.tmp", event("w1"))
        land(self.events / "_job" / "part.jsonl", event("w2"))
        land(self.events / ".hidden.jsonl", event("w3"))

    def land_more_files(self):
        land(self.events / "copy of good.jsonl", event("e1"), "", "broken", event("e2", actor_id=""), at=FUTURE)
        land(self.events / "rows.parquet.PART", event("w4"))
        (self.events / "writing.jsonl.tmp").rename(self.events / "written.jsonl")
        land(self.events / "touched.jsonl", event("e5"), at=WRITTEN + timedelta(hours=1))
        land(self.events / "two words" / "more.jsonl.gz", event("e3"), event("e6"))


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return Story(Lake(spark, str(home / "lake")), home / "landing")


def test_a_load_counts_files_usable_rows_and_what_it_refused(story):
    assert story.first == feeds.loaded(files=12, events=4, documents=1, quarantined=10)


def test_usable_rows_tell_their_file_line_and_batch(story):
    assert story.first_events == [
        ("e1", "good.jsonl", 1, 1),
        ("e3", "two words/more.jsonl.gz", 1, 1),
        ("e4", "rows.parquet", 1, 1),
        ("e5", "touched.jsonl", 1, 1),
    ]


def test_bad_lines_go_to_quarantine_as_they_landed(story):
    lines = {(q.feed, q.file, q.line, q.reason, q.raw) for q in story.first_quarantine if q.line}

    assert lines == {
        ("events", "good.jsonl", 3, "the line is not a JSON object", "broken"),
        ("events", "good.jsonl", 4, "actor_id is empty", event("e2", actor_id="")),
        ("documents", "d.jsonl", 2, "size is negative", '{"id":"d2","size":-5}'),
    }


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("cut.jsonl.gz", "the file cannot be read (java.io.EOFException"),
        ("cut.parquet", "the file cannot be read ("),
        ("damaged.parquet", "the file cannot be read ("),
        ("plain.jsonl.gz", "the file holds no gzip"),
        ("notes.txt", "the file is by its name neither JSON lines (.jsonl, "),
        ("at 10:30.jsonl", "the file's name holds a colon; land it under another name"),
        ("link.jsonl", "the file leads out of the landing folder"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_as_a_whole(story, file, reason):
    [refused] = [q for q in story.first_quarantine if q.file == file]

    assert (refused.feed, refused.line, refused.raw, refused.batch) == ("events", None, None, 1)
    assert refused.reason.startswith(reason)


def test_a_load_with_nothing_new_reads_no_file_and_is_no_job_for_spark(story):
    assert (story.again, story.jobs_of_again) == (EMPTY, 0)


def test_a_copy_a_changed_and_a_finished_file_are_deliveries_and_a_touched_one_is_not(story):
    again = rows(story.lake, feeds.BRONZE_EVENTS, "event_id", "file", "line", "batch")

    assert story.second == feeds.loaded(files=3, events=4, quarantined=2)
    assert [row for row in again if row[-1] == 2] == [
        ("e1", "copy of good.jsonl", 1, 2),
        ("e3", "two words/more.jsonl.gz", 1, 2),
        ("e6", "two words/more.jsonl.gz", 2, 2),
        ("w1", "written.jsonl", 1, 2),
    ]


def test_rows_carry_the_time_of_their_file_which_is_never_after_that_of_their_load(story):
    times = {
        row[1:] for row in rows(story.lake, feeds.BRONZE_EVENTS, "event_id", "batch", "delivered_at", "ingested_at")
    }

    written, now, later = (time.replace(tzinfo=None) for time in (WRITTEN, NOW, LATER))
    assert times == {(1, written, now), (2, written, later), (2, later, later)}


def test_where_nothing_came_but_what_is_unusable_the_next_load_is_no_job_for_spark(lake, tmp_path):
    land(tmp_path / "events" / "a.jsonl", "{")
    load.run(lake, feeds.intake(tmp_path), now=NOW)

    before = jobs_of(lake)
    assert load.run(lake, feeds.intake(tmp_path), now=LATER) == EMPTY
    assert jobs_of(lake) == before


def test_a_claim_is_read_whole_from_one_commit_as_another_load_may_claim_meanwhile(story, monkeypatch):
    monkeypatch.setattr(story.lake, "last_appended", lambda _: pytest.fail("the log was read again"))

    claim = listing.last_claim(story.lake)

    assert (claim.number, claim.tables, claim.listing) == (
        2,
        {"bronze.events": 2},
        Listing.of(story.lake, str(story.folder), feeds.FEEDS).digest,
    )


@pytest.mark.parametrize("folders", [(), ("events", "documents")])
def test_an_empty_landing_folder_loads_nothing(lake, tmp_path, folders):
    for folder in folders:
        (tmp_path / "landing" / folder).mkdir(parents=True)

    assert load.run(lake, feeds.intake(tmp_path / "landing"), now=NOW) == EMPTY
    assert not lake.exists(bronze.FILES)


@pytest.mark.slow
def test_a_taken_file_may_be_moved_away_and_come_back(lake, tmp_path):
    taken, aside = tmp_path / "landing" / "events" / "a.jsonl", tmp_path / "a.jsonl"
    land(taken, event("e1"))
    load.run(lake, feeds.intake(tmp_path / "landing"), now=NOW)

    taken.rename(aside)
    land(tmp_path / "landing" / "events" / "b.jsonl", event("e2"))
    assert load.run(lake, feeds.intake(tmp_path / "landing"), now=LATER) == feeds.loaded(files=1, events=1)
    aside.rename(taken)
    assert load.run(lake, feeds.intake(tmp_path / "landing"), now=LATER) == EMPTY
    assert rows(lake, feeds.BRONZE_EVENTS, "event_id", "batch") == [("e1", 1), ("e2", 2)]


def test_of_landed_files_only_those_come_to_the_driver_that_no_load_took(story):
    assert {file.name: len(digests) for file, digests in story.not_loaded} == {
        "two words/more.jsonl.gz": 1,
        "touched.jsonl": 1,
        "copy of good.jsonl": 0,
        "written.jsonl": 0,
        "at 10:30.jsonl": 1,  # these two were refused by their names, which are all that is looked at again
        "notes.txt": 1,
    }
    [new] = [file for file, _ in story.not_loaded if file.name == "written.jsonl"]
    assert [file.name for file, _ in not_loaded(story.lake, "documents", [new])] == ["written.jsonl"]


@pytest.mark.slow
def test_a_batch_that_was_only_claimed_is_finished_by_the_next_load_once(lake, tmp_path):
    land(tmp_path / "events" / "a.jsonl", event("e1"), event("e2", event_type="?"))
    claim_everything(lake, tmp_path, batch=1)
    land(tmp_path / "events" / "b.jsonl", event("e3"))

    assert load.run(lake, feeds.intake(tmp_path), now=LATER) == feeds.loaded(files=2, events=2, quarantined=1)
    assert load.run(lake, feeds.intake(tmp_path), now=LATER) == EMPTY

    now, later = (time.replace(tzinfo=None) for time in (NOW, LATER))
    assert rows(lake, feeds.BRONZE_EVENTS, "event_id", "batch", "ingested_at") == [("e1", 1, now), ("e3", 2, later)]
    assert rows(lake, bronze.QUARANTINE, "file", "line", "batch", "ingested_at") == [("a.jsonl", 2, 1, now)]


@pytest.mark.slow
def test_a_batch_cut_off_after_its_quarantine_is_finished_by_the_next_load_once(lake, tmp_path, monkeypatch):
    land(tmp_path / "events" / "a.jsonl", event("e1"), event("e2", event_type="?"))
    append = lake.append_once

    def append_no_events(table, *args, **options):
        if table == feeds.BRONZE_EVENTS:
            raise KeyboardInterrupt
        append(table, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(lake, "append_once", append_no_events)
        with pytest.raises(KeyboardInterrupt):
            load.run(lake, feeds.intake(tmp_path), now=NOW)
    assert not lake.exists(feeds.BRONZE_EVENTS)
    load.run(lake, feeds.intake(tmp_path), now=LATER)

    now = NOW.replace(tzinfo=None)
    assert rows(lake, feeds.BRONZE_EVENTS, "event_id", "batch", "ingested_at") == [("e1", 1, now)]
    assert rows(lake, bronze.QUARANTINE, "file", "line", "batch", "ingested_at") == [("a.jsonl", 2, 1, now)]
    assert len(rows(lake, bronze.FILES, "file")) == 1


@pytest.mark.slow
def test_claimed_files_that_are_gone_can_be_given_up_with_empty_ones(lake, tmp_path):
    folder = tmp_path / "events"
    land(folder / "a.jsonl", event("e1"))
    land(folder / "a.jsonl.gz", event("e2"))
    land_parquet(folder / "a.parquet", "e3")
    land(folder / "good.jsonl", event("e4"))
    claim_everything(lake, tmp_path, batch=1)
    for name in ("a.jsonl", "a.jsonl.gz", "a.parquet"):
        (folder / name).write_bytes(b"")

    assert load.run(lake, feeds.intake(tmp_path), now=LATER).rows["events"] == 1


def test_a_batch_is_to_reach_the_tables_of_feeds_with_files_to_read_and_quarantine_for_others():
    file = LandedFile(feed="events", file="a", sha256="b", bytes=3, delivered_at=WRITTEN, refusal=None)
    document = replace(file, feed="documents")

    assert listing.tables_of([document, file]) == ["bronze.documents", "bronze.events"]
    assert listing.tables_of([file, replace(document, refusal="no")]) == ["bronze.events", "bronze.quarantine"]
    assert listing.tables_of([replace(file, refusal="no")]) == ["bronze.quarantine"]
