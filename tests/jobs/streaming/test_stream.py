"""The stream with real Spark and a real store, from a folder: what readers would be told."""

import gzip
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.bronze.file_check import Checked
from jobs.bronze.listing import Listing, new_files
from jobs.streaming import micro_batch, source
from jobs.streaming.checkpoint import ExcludedFiles
from jobs.streaming.source import Plans
from jobs.streaming.supervise import Kind, failure_of
from tailrace.events.oddities import LINE, land_oddities
from tailrace.schemas.landing import LINE_SUFFIXES
from tailrace.store.address import read_control
from tests import feeds
from tests.jobs.streaming.folder_stream import event

pytestmark = pytest.mark.slow

DAY = 86_400  # seconds


def last_landed(stream):
    return max(file.stat().st_mtime_ns for file in (stream.folder / "events").iterdir()) // 1_000_000 * 1_000


def test_events_reach_the_store_once_whatever_comes_with_them(stream, monkeypatch):
    first = event(1)
    stream.land(
        first, event(2, "u2", type="edit"), first, "no event", event(3, minutes_ago=30), event(4, minutes_ago=-60)
    )
    stream.run()
    assert stream.value("pairs", "actor+document|2:u12:d1") == {"opens_15m": 1, "opens_1h": 2}
    assert stream.value("documents", "document|2:d1") == {"events_15m": 2, "actors_15m": 2}
    control = read_control(stream.address, "documents")
    assert control
    # All that landed by then is readable; more is not known, as more files may have landed meanwhile.
    assert control.watermark == last_landed(stream)

    # The stream dies between the pairs and the documents; its repetition comes to the same.
    stream.land(first, event(5), event(6, "u3"))
    with monkeypatch.context() as patched:

        def die(parts, batch):
            raise RuntimeError("killed")

        patched.setattr(micro_batch, "fold_rollups", die)
        with pytest.raises(Exception, match="killed"):
            stream.run()
    assert stream.value("documents", "document|2:d1") == {"events_15m": 2, "actors_15m": 2}
    stream.run()

    assert stream.value("pairs", "actor+document|2:u12:d1") == {"opens_15m": 2, "opens_1h": 3}
    assert stream.value("documents", "document|2:d1") == {"events_15m": 4, "actors_15m": 3}


def test_the_files_that_bronze_takes_lines_of_are_followed_and_no_others(stream, lake):
    taken = {"a.json", "B.JSONL", "sub/deep er/c.ndjson", "day=2026-01-31/d.jsonl", "sub/e.json.gz"}
    left = {"_s/f.jsonl", ".s/g.jsonl", "sub/_h=1.jsonl", "_i=1/i.jsonl", "up.TMP/j.jsonl", "k.jsonl.part"}
    refused = {"sub/l:1.jsonl", "09:00/m.jsonl", "n.txt"}
    for name in taken | left | refused:
        file = stream.land(event(name, name), name=name)
        if name.endswith(".gz"):
            file.write_bytes(gzip.compress(file.read_bytes()))
    stream.run()
    month_ago = time.time() - 30 * DAY
    os.utime(stream.land(event("o", "old.json", minutes_ago=31 * DAY / 60), name="old.json"), (month_ago, month_ago))
    stream.run()

    in_bronze = {
        file.file
        for file in new_files(lake, Listing.of(lake, str(stream.folder), feeds.FEEDS), feeds.EVENTS)
        if not file.refusal
    }
    assert in_bronze == taken | {"old.json"}
    assert stream.keys("pairs") == {f"actor+document|{len(name)}:{name}2:d1" for name in in_bronze}


def test_whatever_lies_in_the_folder_is_left_out_by_name_and_all_else_goes_on(stream, monkeypatch):
    events = stream.folder / "events"
    odd = {one.name: one.reason for one in land_oddities(events) if one.name.endswith(LINE_SUFFIXES)}
    stream.land(event(1), name="good.jsonl")
    stream.land(event(2, "u2"), name="of 2040.jsonl", at=datetime(2040, 1, 1, tzinfo=UTC))
    (events / "latest.jsonl").symlink_to("good.jsonl")
    stream.run()
    assert stream.keys("pairs") == {"actor+document|2:u12:d1", "actor+document|2:u22:d1"}
    found = left_out(stream)
    assert found.keys() == odd.keys() | {"latest.jsonl"}
    assert [name for name, reason in odd.items() if reason not in found[name]] == []

    gone = stream.land(event(3, "u3"), name="gone.jsonl")
    Plans(str(events), Path(stream.checkpoint)).look()
    gone.unlink()
    stream.land(event(4, "u4"), name="later.jsonl")
    stream.land(name="damaged.jsonl.gz").write_bytes(gzip.compress(LINE.encode() * 40)[:-20])
    with monkeypatch.context() as patched:
        patched.setattr(source, "check", as_if_whole)  # it is damaged once it was looked at
        with pytest.raises(Exception, match="FAILED_READ_FILE") as raised:
            stream.run()
    failure = failure_of(raised.value)
    assert failure.kind is Kind.DATA
    assert "damaged.jsonl.gz cannot be read" in failure.why
    stream.run()

    assert "actor+document|2:u42:d1" in stream.keys("pairs")
    assert {"gone.jsonl": "gone", "damaged.jsonl.gz": "cannot be read"}.items() <= {
        name: next((words for words in ("gone", "cannot be read") if words in reason), reason)
        for name, reason in left_out(stream).items()
    }.items()


def left_out(stream):
    return {one.file: one.reason for one in ExcludedFiles(Path(stream.checkpoint)).files}


def as_if_whole(spark, file, feed):
    return Checked("", None)
