"""Files of declared sources: JSON lines, Parquet and CSV, packed or not, that say the same are the same events."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.bronze import load
from jobs.bronze.load import Intake
from tailrace.definitions import Definitions, EventSource, Field, Time, Type
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tests import feeds
from tests.jobs.bronze.landed import NOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEARCHES = EventSource(
    name="searches",
    id=None,
    time=Time("ts", unit="ms"),
    fields=(
        Field("query", Type.STRING, path="$.request.q", required=True),
        Field("user_id", Type.STRING, path="$['user.id']", id=True),
        Field("rank", Type.INT64, minimum=0),
        Field("dwell", Type.FLOAT64),
        Field("clicked", Type.BOOL),
        Field("day", Type.DATE),
        Field("note", Type.STRING),
        Field("facts", Type.STRING, json=True),
    ),
)
INTAKE_OF = Definitions(views={}, on_demand={}, services={}, declared=(SEARCHES, *feeds.DEFINITIONS.sources.values()))

MS = 1772356087654
ROWS: list[dict[str, Any]] = [
    {"ts": MS, "request": {"q": "shoes"}, "user.id": "7", "rank": 3, "dwell": 0.5, "clicked": True, "day": "2026-03-01", "note": 'a "b",\nü', "facts": {"a": 1}},
    {"ts": MS + 1, "request": {"q": "12"}, "user.id": None, "rank": None, "dwell": 12.0, "clicked": None, "day": None, "note": "", "facts": None},
]  # fmt: skip
SAID = [
    (
        datetime(2026, 3, 1, 9, 8, 7, 654000, tzinfo=UTC),
        "shoes",
        "7",
        3,
        0.5,
        True,
        "2026-03-01",
        'a "b",\nü',
        '{"a":1}',
    ),
    (datetime(2026, 3, 1, 9, 8, 7, 655000, tzinfo=UTC), "12", None, None, 12.0, None, None, "", None),
]
COLUMNS = ("ts", "query", "user_id", "rank", "dwell", "clicked", "day", "note", "facts")
HEADER = "ts,request,user.id,rank,dwell,clicked,day,note,facts,more"
GOOD = f'{MS},"{{""q"":""x""}}",u,1,,,,,,'


def in_lines():
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def in_parquet():
    schema = pa.schema(
        [
            ("ts", pa.timestamp("ms", "UTC")),
            ("request", pa.struct([("q", pa.string())])),
            ("user.id", pa.string()),
            ("rank", pa.int32()),
            ("dwell", pa.float64()),
            ("clicked", pa.bool_()),
            ("day", pa.date32()),
            ("note", pa.string()),
            ("facts", pa.struct([("a", pa.int64())])),
            ("more", pa.binary()),
        ]
    )
    days = [datetime.fromisoformat(row["day"]).date() if row["day"] else None for row in ROWS]
    times = [datetime.fromtimestamp(row["ts"] / 1000, UTC) for row in ROWS]
    rows = [row | {"day": day, "ts": at} for row, day, at in zip(ROWS, days, times, strict=True)]
    return parquet_of(pa.Table.from_pylist(rows, schema))


def parquet_of(table):
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def in_csv(*, end="\n"):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(HEADER.split(","))
    for row in ROWS:
        texts = {name: json.dumps(row[name]) if row[name] else None for name in ("request", "facts")}
        truth = "True" if row["clicked"] else None
        writer.writerow([*(row | texts | {"clicked": truth, "note": row["note"] or '""'}).values(), "x"])
    # The library cannot write an empty text otherwise than nothing.
    return out.getvalue().replace('""""""', '""').encode()


ALIKE = {
    "a.jsonl": in_lines(),
    "b.jsonl.gz": gzip.compress(in_lines()),
    "c.parquet": in_parquet(),
    "d.csv": in_csv(),
    "e.csv.gz": gzip.compress(in_csv()),
    "f with a mark.csv": b"\xef\xbb\xbf" + in_csv(end="\r\n"),
}
REFUSED = {
    "without a header.csv": (GOOD.encode(), "header line lacks"),
    "semicolons.csv": (HEADER.replace(",", ";").encode(), "header line lacks"),
    "a column twice.csv": (f"{HEADER},rank\n".encode(), "names rank twice"),
    "no query.csv": (HEADER.replace("request", "q").encode(), "lacks request"),
    "lines.csv": (in_lines(), "holds JSON"),
    "packed.csv": (gzip.compress(in_csv()), "holds gzip"),
    "not packed.csv.gz": (in_csv(), "no gzip"),
    "cut.csv.gz": (gzip.compress(in_csv() * 50)[:-9], "cannot be read"),
    "wide.csv": (in_csv().decode().encode("utf-16"), "holds UTF-16"),
    "bytes as a key.parquet": (parquet_of(pa.table({"user.id": [b"7"]})), "column user.id"),
    "bytes inside.parquet": (parquet_of(pa.table({"request": [{"q": b"7"}]})), "column request"),
}
# What else is in a file, with its usable rows and the reasons of the others, each by its row.
ODD_ROWS = {
    "empty.csv": ("", 0, {}),
    "header alone.csv": (f"{HEADER}\n", 0, {}),
    "no line break at the end.csv": (f"{HEADER}\n{GOOD}", 1, {}),
    "blank lines.csv": (f"\n{HEADER}\n\n{GOOD}\n\n\n{GOOD}\n", 2, {}),
    "too few.csv": (f"{HEADER}\n{GOOD}\n1,2\n{GOOD}\n", 2, {2: "has not 10 values"}),
    "too many.csv": (f"{HEADER}\n{GOOD},\n{GOOD}\n", 1, {1: "has not 10 values"}),
    "types.csv": (
        f"{HEADER}\n" + "".join(f'{ts},"{{""q"":""x""}}",u,{rank},{dwell},{clicked},{day},,{facts},\n' for ts, rank, dwell, clicked, day, facts in (
            (MS, "1.0", "", "", "", ""), (MS, "-1", "", "", "", ""), (MS, "", "1e400", "", "", ""), (MS, "", "NaN", "", "", ""),
            (MS, "", "", "1", "", ""), (MS, "", "", "", "1.3.2026", ""), (MS, "", "", "", "", "[]"), ("x", "", "", "", "", ""),
            ("", "", "", "", "", ""), (MS, "", "", "", "", '"{},""rank"":7"'), (MS, "007", "", "", "", ""),
        )),
        0,
        {1: "rank is not", 2: "rank is negative", 3: "dwell is beyond", 4: "dwell is not", 5: "clicked is not", 6: "day is not",
         7: "facts is not", 8: "ts is neither", 9: "ts is missing", 10: "facts is not", 11: "rank is not"},
    ),
    "a NUL first.csv": (f"{HEADER}\n\0{GOOD}\n{GOOD}\n", 1, {1: "ts is neither"}),
}  # fmt: skip
DOCUMENTS = "id,title,type,size,folder,owner,updated_at\nd1,Plan,pdf,12,/a,u1,2026-02-03T04:05:06Z\nd2,,,-1,,,\n"


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    lake, landing = Lake(spark, str(home / "lake")), home / "landing"
    for feed in ("searches", "documents"):
        (landing / feed).mkdir(parents=True)
    for name, content in (ALIKE | {name: content for name, (content, _) in REFUSED.items()}).items():
        (landing / "searches" / name).write_bytes(content)
    for name, (content, _, _) in ODD_ROWS.items():
        (landing / "searches" / name).write_text(content, newline="")
    (landing / "searches" / "latin-1.csv").write_bytes(f"{HEADER}\n{GOOD}\n{GOOD[:-1]}é,\n".encode("latin-1"))
    (landing / "documents" / "all.csv").write_text(DOCUMENTS)
    intake = Intake(folder=str(landing), feeds=INTAKE_OF.feeds)
    loaded = load.run(lake, intake, now=NOW)
    found = lake.read(INTAKE_OF.feeds[1].table).orderBy("file", "line").collect()
    return SimpleNamespace(
        loaded=loaded, rows=found, quarantine=lake.read(bronze.QUARANTINE).collect(), lake=lake, intake=intake
    )


@pytest.mark.parametrize("name", ALIKE)
def test_files_that_say_the_same_hold_the_same_events(story, name):
    rows = [row for row in story.rows if row.file == name]
    first = [row for row in story.rows if row.file == "a.jsonl"]

    said = [(row.ts.replace(tzinfo=UTC), *(row[one] for one in COLUMNS[1:])) for row in rows]
    assert [tuple(str(one) if index == 6 and one else one for index, one in enumerate(row)) for row in said] == SAID
    assert [row.row_id for row in rows] == [row.row_id for row in first]
    assert [row.line for row in rows] == [1, 2]


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_what_its_name_says_is_refused_as_a_whole(story, name):
    [refused] = [row for row in story.quarantine if row.file == name]

    assert (refused.line, REFUSED[name][1] in refused.reason) == (None, True), refused.reason


@pytest.mark.parametrize("name", ODD_ROWS)
def test_rows_of_csv_are_refused_one_by_one(story, name):
    _, usable, reasons = ODD_ROWS[name]
    refused = {row.line: row.reason for row in story.quarantine if row.file == name}

    assert refused.keys() == reasons.keys(), refused
    assert [reason for line, reason in refused.items() if reasons[line] not in reason] == []
    assert len([row for row in story.rows if row.file == name]) == usable


def test_csv_that_is_not_utf8_is_refused_for_its_column(story):
    [refused] = [row for row in story.quarantine if row.file == "latin-1.csv"]

    assert (refused.line, refused.reason) == (2, "facts is not UTF-8")


def test_the_shipped_feeds_take_csv(story):
    [row] = story.lake.read(feeds.BRONZE_DOCUMENTS).collect()
    [refused] = [row for row in story.quarantine if row.feed == "documents"]

    assert (row.document_id, row.title, row.size_bytes, row.owner) == ("d1", "Plan", 12, "u1")
    assert (refused.line, refused.reason) == (2, "size is negative")


def test_each_file_is_taken_once(story):
    assert story.loaded.files == len(ALIKE) + len(REFUSED) + len(ODD_ROWS) + 2
    assert load.run(story.lake, story.intake, now=NOW).files == 0
