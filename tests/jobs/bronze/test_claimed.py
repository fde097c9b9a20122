"""Files that were fine when a load claimed them and are not when it reads them: each is refused alone, the others come in."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.blocked import Blocked
from jobs.bronze import claimed, listing, load
from jobs.bronze.claimed import FeedFiles, culprits
from jobs.bronze.file_check import Checked
from jobs.bronze.listing import LandedFile
from tailrace.lake.storage import StoredFile
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import LandingError
from tests import feeds
from tests.jobs.bronze.landed import (
    LATER,
    NOW,
    WRITTEN,
    blocked_by,
    claim_everything,
    event,
    land,
    land_parquet,
    rows,
    truncate,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


def damaged_inside(path):
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 400 + content[404:])


# What becomes of a claimed file, and words of the reason that refuses it then.
LOST = {
    "cut.jsonl.gz": (truncate, "cannot be read"),
    "damaged.parquet": (damaged_inside, "cannot be read"),
    "cut.parquet": (truncate, "cannot be read"),
    "replaced.jsonl": (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(20)), "holds gzip"),
    "gone.jsonl": (lambda path: path.unlink(), "was gone"),
    "pipe.jsonl": (as_pipe, "a named pipe"),
}


def land_and_claim(lake, folder, names):
    """A good file beside those that are to be lost, all of them claimed by a load that was cut off."""
    for name in ("good.jsonl", *names):
        ids = [f"{name} {number}" for number in range(100)]
        if name.endswith(".parquet"):
            land_parquet(folder / "events" / name, *ids)
        else:
            land(folder / "events" / name, *map(event, ids))
    claim_everything(lake, folder, batch=1)


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    """A batch whose files were lost after its claim; its load is cut off after the quarantine, and finished by the next."""
    folder = tmp_path_factory.mktemp("home")
    lake = Lake(spark, str(folder / "lake"))
    land_and_claim(lake, folder, LOST)
    before = (folder / "events" / "cut.jsonl.gz").read_bytes()
    for name, (lose, _) in LOST.items():
        lose(folder / "events" / name)
    append = lake.append_once

    def append_no_events(table, *args, **options):
        if table == feeds.BRONZE_EVENTS:
            raise KeyboardInterrupt
        append(table, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "append_once", append_no_events)
        with pytest.raises(KeyboardInterrupt):
            load.run(lake, feeds.intake(folder), now=LATER)
    (folder / "events" / "cut.jsonl.gz").write_bytes(before)
    land(folder / "events" / "later.jsonl", event("later"))
    loaded = load.run(lake, feeds.intake(folder), now=LATER)
    return SimpleNamespace(lake=lake, loaded=loaded, quarantine=lake.read(bronze.QUARANTINE).collect())


@pytest.mark.parametrize("name", LOST)
def test_a_claimed_file_that_cannot_be_read_is_refused_by_name_once(story, name):
    [refused] = [row for row in story.quarantine if row.file == name and row.batch == 1]

    assert LOST[name][1] in refused.reason
    assert (refused.feed, refused.line, refused.raw) == ("events", None, None)


def test_the_other_files_of_the_batch_and_later_ones_come_in_once(story):
    found = rows(story.lake, feeds.BRONZE_EVENTS, "file", "batch")

    assert found.count(("good.jsonl", 1)) == 100
    assert found.count(("later.jsonl", 2)) == 1
    assert {file for file, batch in found if batch == 1} == {"good.jsonl"}


def test_what_the_check_does_not_find_is_found_by_reading_each_file_alone(lake, tmp_path, monkeypatch):
    land_and_claim(lake, tmp_path, ["cut.jsonl.gz"])
    truncate(tmp_path / "events" / "cut.jsonl.gz")
    with monkeypatch.context() as patch:
        patch.setattr(claimed, "check", lambda *_: Checked("of another time", None))

        loaded = load_batch_alone(lake, tmp_path)

    assert (loaded.files, loaded.rows, loaded.quarantined) == (2, {"events": 100}, 1)
    [refused] = lake.read(bronze.QUARANTINE).collect()
    assert (refused.file, refused.line) == ("cut.jsonl.gz", None)


def load_batch_alone(lake, folder):
    [batch] = listing.unfinished(lake, listing.last_claim(lake))
    return load.load_batch(lake, feeds.intake(folder), batch, Blocked())


def test_a_folder_that_is_gone_is_no_fault_of_its_files(lake, tmp_path):
    land(tmp_path / "events" / "a.jsonl", event("e1"))
    claim_everything(lake, tmp_path, batch=1)
    (tmp_path / "events").rename(tmp_path / "away")

    reason = blocked_by(load.run(lake, feeds.intake(tmp_path), now=LATER), LandingError)
    assert "events is gone, and with it a.jsonl" in str(reason)
    (tmp_path / "away").rename(tmp_path / "events")
    assert load.run(lake, feeds.intake(tmp_path), now=LATER) == feeds.loaded(files=1, events=1)


@pytest.mark.parametrize(("unread", "found"), [(["a", "b"], []), (["b"], ["b"]), ([], [])])
def test_where_all_of_several_files_fail_alone_it_is_not_theirs(monkeypatch, unread, found):
    files = [
        LandedFile(feed="events", file=name, sha256=name, bytes=3, delivered_at=WRITTEN, refusal=None) for name in "ab"
    ]
    monkeypatch.setattr(claimed, "check", lambda *_: Checked("of another time", None))
    monkeypatch.setattr(claimed, "why_unread_by_itself", lambda _, file: "it fails" if file.name in unread else None)
    nowhere: Any = SimpleNamespace(spark=None)
    source = FeedFiles(lake=nowhere, feed=feeds.EVENTS, folder="events", topic=None, until=NOW)

    stored = {name: StoredFile(name=name, path=name, bytes=3, modified_at=WRITTEN) for name in "ab"}

    lost = culprits(source, files, stored)

    assert [(file.file, file.refusal) for file in lost] == [(name, "it fails") for name in found]
