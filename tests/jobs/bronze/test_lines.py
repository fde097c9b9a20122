import gzip
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from jobs.bronze.file_check import read_lines, spread_lines
from tailrace.lake.storage import StoredFile, list_files, reported_path
from tests import feeds

NAMES = (
    "two words.jsonl",
    " 100%.jsonl",
    "a%20b.jsonl",
    "{x,y}.jsonl",
    "*?.jsonl",
    "[ab].jsonl",
    "日報-é.jsonl",
    "back\\slash.jsonl",
    "hash#1.jsonl",
    "a=b/part 1.jsonl",
    "upper.NDJSON",
)

ROW = {"event_id": "p1", "attributes": {"place": "Rome", "turn": 2}}
AT = datetime(2026, 3, 1, 9, 8, 7, 654321, tzinfo=UTC)
LONG = [f"{number:03} {'x' * (number % 60)}" for number in range(1, 301)]


def parquet(path, attributes=ROW["attributes"], kind=None, times=None):
    times = times or pa.timestamp("us", tz="UTC")
    columns = {"event_id": ["p1", "p2"], "attributes": pa.array([attributes, None], kind)}
    columns["occurred_at"] = pa.array([AT if times.tz else AT.replace(tzinfo=None), None], times)
    pq.write_table(pa.table(columns), path)


@pytest.fixture(scope="module")
def lines(spark, tmp_path_factory):
    """Lines of every file of one folder as (number, text), by file; text files are read in blocks of 512 bytes."""
    folder = tmp_path_factory.mktemp("landing")
    (folder / "blank.jsonl").write_bytes(b"\n\none\n  \n\ntwo\n\n")
    (folder / "windows.jsonl").write_bytes(b"one\r\n\r\ntwo\r\n")
    (folder / "tabs.jsonl").write_bytes(b"one\n\t\ntwo")
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "blocks.jsonl").write_text("\n".join(LONG))
    (folder / "blocks.jsonl.gz").write_bytes(gzip.compress("\n".join(LONG).encode()))
    (folder / "separators.jsonl").write_text("one\u2028\u0085still one\x0b\x0c\ntwo\n", encoding="utf-8")
    parquet(folder / "rows.parquet")
    parquet(folder / "a map.parquet", [("place", "Rome")], pa.map_(pa.string(), pa.string()))
    parquet(folder / "zone.parquet", times=pa.timestamp("us", tz="Asia/Tokyo"))
    parquet(folder / "no zone.parquet", times=pa.timestamp("us"))
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"in {name}")
    files = list_files(spark, str(folder))
    names = {reported_path(spark, file): file.name for file in files}
    option = "spark.sql.files.maxPartitionBytes"
    before = spark.conf.get(option)
    spark.conf.set(option, "512b")
    try:
        rows = read_lines(spark, files, feeds.EVENTS).collect()
    finally:
        spark.conf.set(option, before)
    found: dict[str, list[tuple[int, str]]] = {file.name: [] for file in files}
    for row in sorted(rows, key=lambda row: row.line):
        found[names[row.path]].append((row.line, row.value))
    return found


def test_blank_lines_are_left_out_and_counted(lines):
    assert lines["blank.jsonl"] == [(3, "one"), (6, "two")]


def test_a_line_of_tabs_is_blank(lines):
    assert lines["tabs.jsonl"] == [(1, "one"), (3, "two")]


def test_a_blank_line_from_windows_is_blank(lines):
    assert [(line, text.rstrip("\r")) for line, text in lines["windows.jsonl"]] == [(1, "one"), (3, "two")]


def test_only_a_line_feed_ends_a_line(lines):
    assert lines["separators.jsonl"] == [(1, "one\u2028\u0085still one\x0b\x0c"), (2, "two")]


def test_an_empty_file_has_no_lines(lines):
    assert lines["empty.jsonl"] == []


@pytest.mark.parametrize("name", ["blocks.jsonl", "blocks.jsonl.gz"])
def test_lines_are_numbered_through_all_blocks_of_a_file(lines, name):
    assert lines[name] == list(enumerate(LONG, 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_read_whatever_its_name(lines, name):
    assert lines[name] == [(1, f"in {name}")]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("rows.parquet", {"occurred_at": "2026-03-01T09:08:07.654321Z"}),
        ("zone.parquet", {"occurred_at": "2026-03-01T09:08:07.654321Z"}),
        ("a map.parquet", {"occurred_at": "2026-03-01T09:08:07.654321Z", "attributes": {"place": "Rome"}}),
        ("no zone.parquet", {"occurred_at": "2026-03-01T09:08:07.654321"}),
    ],
)
def test_a_parquet_row_becomes_the_line_it_would_have_been(lines, name, changes):
    found = [(line, json.loads(text)) for line, text in lines[name]]

    assert found == [(1, ROW | changes), (2, {"event_id": "p2"})]


@pytest.mark.parametrize(
    ("name", "size", "tasks"),
    [("large.jsonl.GZ", 2**20, 2), ("small.jsonl.gz", 2**20 - 1, 1), ("plain.jsonl", 2**20, 1)],
)
def test_lines_of_a_large_packed_file_are_judged_on_all_cores(spark, name, size, tasks):
    file = StoredFile(name=name, path=name, bytes=size, modified_at=AT)

    lines = spread_lines(spark.range(100, numPartitions=1).toDF("line"), [file])

    assert lines.select(F.spark_partition_id()).distinct().count() == tasks
    assert lines.agg(F.count("*"), F.sum("line")).collect() == [(100, 4950)]
