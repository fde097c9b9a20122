"""Whatever lies in a landing folder: good files beside it come in, and what cannot be taken is in quarantine by name."""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.bronze import load
from tailrace.events.oddities import EVENT, LINE, ODDITIES, event, holding, land_oddities, parquet
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tests import feeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NOW = datetime(2026, 3, 2, 10, 11, 12, tzinfo=UTC)
AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def aged(seconds):
    """A file last written so many seconds after 1970."""

    def write(path):
        path.write_text(LINE)
        os.utime(path, (seconds, seconds))

    return write


def of_pandas(path):
    frame = pd.DataFrame([EVENT, EVENT | {"event_id": "odd2"}])
    frame.assign(occurred_at=pd.to_datetime(frame.occurred_at, utc=True), source=None).to_parquet(path)


def of_latin_1(path):
    """Two ids that are one, once what is not UTF-8 is replaced."""
    offsets, content = pa.py_buffer(pa.array([0, 4, 8], pa.int32()).buffers()[1]), pa.py_buffer(b"caf\xe9caf\xe8")
    ids = pa.Array.from_buffers(pa.string(), 2, [None, offsets, content])
    rows = {name: [value, value] for name, value in EVENT.items()} | {"document_id": ids}
    pq.write_table(pa.table(rows), path, use_dictionary=False)


@dataclass(frozen=True)
class Taken:
    """A file that is read: its usable rows, and what is said of the others."""

    write: Any
    usable: int = 1
    reasons: list[str] = field(default_factory=list)


INFINITE = {"a": [{"b": float("-inf")}]}
TAKEN = {
    "good.jsonl": Taken(holding(LINE)),
    "before 1970.jsonl": Taken(aged(-86_400)),
    "just before 1970.jsonl": Taken(aged(-0.001)),
    "of 1970.jsonl": Taken(aged(0)),
    "of 2040.jsonl": Taken(aged(2_208_988_800)),
    "naïve, 日報.jsonl": Taken(holding(LINE)),
    "sub/deep er/one.jsonl": Taken(holding(LINE)),
    "empty.jsonl": Taken(holding(b""), usable=0),
    "half a line.jsonl": Taken(holding("{\n" + LINE), reasons=["not a JSON object"]),
    "a list first.jsonl": Taken(holding("[1]\n" + LINE), reasons=["not a JSON object"]),
    "two on a line.jsonl": Taken(holding(LINE.strip() + LINE + LINE), reasons=["not a JSON object"]),
    "one long line.jsonl": Taken(holding(event(attributes={"a": "x" * 200_000}))),
    "underscore.parquet": Taken(parquet(_metadata=["x"])),
    "time.parquet": Taken(parquet(opened=pa.array([clock(9, 1)], pa.time64("us")))),
    "half.parquet": Taken(parquet(half=pa.array([1.5], pa.float16()))),
    "uuid.parquet": Taken(parquet(uuid=pa.array([b"0" * 16], pa.binary(16)))),
    "duration.parquet": Taken(parquet(lasted=pa.array([timedelta(seconds=1)], pa.duration("ns")))),
    "pandas.parquet": Taken(of_pandas, usable=2),
    "zoneless nanoseconds.parquet": Taken(
        parquet(occurred_at=pa.array([AT.replace(tzinfo=None)], pa.timestamp("ns")))
    ),
    "latin-1.parquet": Taken(of_latin_1, usable=0, reasons=["document_id is not UTF-8"] * 2),
    "NaN.parquet": Taken(parquet(source=[float("nan")]), usable=0, reasons=["source holds NaN"]),
    "infinite.parquet": Taken(parquet(attributes=[INFINITE]), usable=0, reasons=["attributes holds NaN or an infinity"]),
    "bytes inside.parquet": Taken(parquet(attributes=[{"a": ["x", None], "b": None}])),
}  # fmt: skip


class Story:
    """Two loads of a folder of oddities, and what is in bronze by file."""

    def __init__(self, lake, landing):
        land_oddities(landing / "events")
        for name, taken in TAKEN.items():
            path = landing / "events" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            taken.write(path)
        (landing / "events" / "latest.jsonl").symlink_to("good.jsonl")
        (landing / "events" / ".data").mkdir()
        (landing / "events" / ".data" / "linked.jsonl").write_text(LINE)
        (landing / "events" / "linked.jsonl").symlink_to(".data/linked.jsonl")
        self.first = load.run(lake, feeds.intake(landing), now=NOW)
        (landing / "events" / "later.jsonl").write_text(LINE)
        self.second = load.run(lake, feeds.intake(landing), now=NOW)
        self.events = lake.read(feeds.BRONZE_EVENTS).collect()
        self.quarantine = lake.read(bronze.QUARANTINE).collect()
        self.usable = Counter(row.file for row in self.events)

    def reasons(self, name, *, whole):
        return [row.reason for row in self.quarantine if row.file == name and (row.line is None) == whole]


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return Story(Lake(spark, str(home / "lake")), home / "landing")


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.name)
def test_what_cannot_be_taken_is_refused_once_with_a_reason(story, oddity):
    [reason] = story.reasons(oddity.name, whole=True)

    assert oddity.reason in reason
    assert story.usable[oddity.name] == 0


@pytest.mark.parametrize("name", TAKEN)
def test_what_can_be_taken_comes_in_beside_it(story, name):
    taken = TAKEN[name]

    assert story.reasons(name, whole=True) == []
    assert story.usable[name] == taken.usable
    found = story.reasons(name, whole=False)
    assert len(found) == len(taken.reasons)
    assert all(part in reason for part, reason in zip(taken.reasons, found, strict=True))


def test_a_later_load_takes_the_later_file_alone(story):
    assert story.second == feeds.loaded(files=1, events=1)
    assert story.usable["later.jsonl"] == 1


def test_every_entry_is_taken_or_refused_and_nothing_else_is(story):
    told = {row.file for row in story.quarantine} | set(story.usable)

    assert told == {oddity.name for oddity in ODDITIES} | (TAKEN.keys() - {"empty.jsonl"}) | {
        "later.jsonl",
        "latest.jsonl",
        "linked.jsonl",
    }


def test_a_real_file_is_taken_once_whatever_links_lead_to_it(story):
    [reason] = story.reasons("latest.jsonl", whole=True)

    assert "leads to good.jsonl" in reason
    assert (story.usable["good.jsonl"], story.usable["latest.jsonl"], story.usable["linked.jsonl"]) == (1, 0, 1)


def test_times_in_nanoseconds_are_read(story):
    files = {"pandas.parquet", "zoneless nanoseconds.parquet"}

    assert {row.occurred_at.replace(tzinfo=UTC) for row in story.events if row.file in files} == {AT}
