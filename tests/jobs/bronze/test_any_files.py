"""Files and columns that are in no list, many in one load: each is taken or refused by name, and none keeps a good one out."""

import gzip
import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jobs.bronze import load
from jobs.bronze.listing import is_temporary
from tailrace.events.oddities import EVENT, LINE, LINES, event
from tailrace.lake.storage import printable
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, landing
from tests import feeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NOW = datetime(2026, 3, 2, 10, 11, 12, tzinfo=UTC)
FILES, TABLES = 40, 25


@dataclass(frozen=True)
class Sibling:
    """A file by its name in bytes, its content, or what is there in its place, and when it was written."""

    name: bytes
    content: bytes
    instead: str
    modified: int | None

    @property
    def is_blank(self) -> bool:
        return self.instead == "file" and not self.content.strip()


def packed(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


OBJECTS = [json.loads(event(number)) for number in range(3)]
CONTENTS = [
    LINES.encode(),
    gzip.compress(LINES.encode()),
    packed(pa.Table.from_pylist(OBJECTS)),
    json.dumps(OBJECTS, indent=1).encode(),
    LINES.encode("utf-16"),
    LINES.encode("utf-8-sig"),
]
SUFFIXES = [*landing.LINE_SUFFIXES, landing.PARQUET_SUFFIX, ".JSONL", ".Parquet", ".jsonl.GZ", ".txt", ".crc", ""]


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """What lands, whole or with bytes cut off, put in, changed or added."""
    whole = draw(st.sampled_from(CONTENTS) | st.binary(max_size=40))
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 8)))
    other = draw(st.binary(max_size=8))
    return draw(st.sampled_from([whole, whole, whole[:start], whole + other, whole[:start] + other + whole[end:]]))


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), max_size=12).map(str.encode)
SIBLINGS = st.builds(
    Sibling,
    name=st.builds(lambda stem, end: stem + end.encode(), NAMES | st.binary(max_size=5), st.sampled_from(SUFFIXES)),
    content=contents(),
    instead=st.sampled_from(["file"] * 12 + ["pipe", "link to itself", "link out", "folder"]),
    modified=st.none() | st.integers(-(2**33), 2**33),
).filter(lambda one: not {b"/", b"\0"} & {one.name[at : at + 1] for at in range(len(one.name))})

UNITS = st.sampled_from(["s", "ms", "us", "ns"])
LEAVES = st.one_of(
    st.sampled_from([pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]),
    st.sampled_from([pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_string()]),
    st.sampled_from([pa.binary(), pa.large_binary(), pa.binary(16), pa.date32(), pa.date64(), pa.null()]),
    st.sampled_from([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
    st.builds(pa.timestamp, UNITS, st.sampled_from([None, "UTC", "Asia/Tokyo"])),
    st.builds(pa.duration, UNITS),
    st.builds(lambda digits, scale: pa.decimal128(digits, min(digits, scale)), st.integers(1, 38), st.integers(0, 38)),
)
TYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(pa.list_, inner),
        st.builds(lambda kind: pa.map_(pa.string(), kind), inner),
        st.builds(lambda names, kind: pa.struct([(name, kind) for name in names]), st.just(["a", "B c"]), inner),
    ),
    max_leaves=3,
)
COLUMNS = st.sampled_from([*feeds.EVENTS.names, "extra", "_metadata", "EVENT_ID", "a.b", "`"])


# A value of each type, an odd one where there is one; 0 of any other.
VALUES: list[tuple[Callable[[pa.DataType], bool], Any]] = [
    (pa.types.is_floating, math.nan),
    (pa.types.is_decimal, Decimal(0)),
    (pa.types.is_boolean, True),
    (pa.types.is_string, "x"),
    (pa.types.is_large_string, "x"),
    (pa.types.is_binary, b"\xff"),
    (pa.types.is_large_binary, b"\xff"),
    (pa.types.is_fixed_size_binary, b"\xff" * 16),
    (pa.types.is_null, None),
]


def value_of(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {field.name: value_of(field.type) for field in kind}
    if pa.types.is_map(kind):
        return [("k", value_of(kind.item_type))]
    if pa.types.is_list(kind):
        return [value_of(kind.value_type), None]
    return next((value for is_of, value in VALUES if is_of(kind)), 0)


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """So many examples; they go into one load, which takes its time."""
    found: list[Any] = []

    @settings(max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(one: Any) -> None:
        found.append(one)

    collect()
    return found


def put(folder: bytes, sibling: Sibling) -> None:
    path = os.path.join(folder, sibling.name)  # noqa: PTH118 - names are bytes
    if sibling.instead == "pipe":
        os.mkfifo(path)
    elif sibling.instead == "folder":
        os.makedirs(os.path.join(path, b"inner"))  # noqa: PTH103, PTH118
    elif sibling.instead.startswith("link"):
        os.symlink(path if sibling.instead == "link to itself" else b"/dev/null", path)  # noqa: PTH211
    else:
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(sibling.content)
        if sibling.modified is not None:
            os.utime(path, (sibling.modified, sibling.modified))


def landed_siblings(folder: Path) -> dict[str, Sibling]:
    """Many siblings in a feed's folder, by their names there, each of which begins with a number."""
    siblings = {}
    for number, one in enumerate(drawn(SIBLINGS, FILES)):
        sibling = Sibling(b"%d %s" % (number, one.name), one.content, one.instead, one.modified)
        put(os.fsencode(folder), sibling)
        if sibling.instead != "folder" and not is_temporary(printable(sibling.name)):
            siblings[printable(sibling.name)] = sibling
    return siblings


def land_tables(folder: Path) -> dict[str, pa.DataType]:
    """Parquet files of one event, of which a column is of any type."""
    kinds = {}
    for number, (name, kind) in enumerate(drawn(st.tuples(COLUMNS, TYPES), TABLES)):
        columns = {field: pa.array([value]) for field, value in EVENT.items()}
        pq.write_table(pa.table(columns | {name: pa.array([value_of(kind)], kind)}), folder / f"table {number}.parquet")
        kinds[f"table {number}.parquet"] = (name, kind)
    return kinds


class Story:
    """One load of many siblings, another one after it, and what bronze has by file."""

    def __init__(self, lake: Lake, home: Path) -> None:
        folder = home / "landing" / "events"
        folder.mkdir(parents=True)
        (folder / "good.jsonl").write_text(LINE)
        self.siblings, self.tables = landed_siblings(folder), land_tables(folder)
        self.first = load.run(lake, feeds.intake(folder.parent), now=NOW)
        self.second = load.run(lake, feeds.intake(folder.parent), now=NOW)
        quarantine = lake.read(bronze.QUARANTINE).collect()
        self.whole = Counter(row.file for row in quarantine if row.line is None)
        self.lines = Counter(row.file for row in quarantine if row.line is not None)
        self.reasons = {row.file: row.reason for row in quarantine}
        self.usable = Counter(row.file for row in lake.read(feeds.BRONZE_EVENTS).collect())


@pytest.fixture(scope="module")
def story(spark, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return Story(Lake(spark, str(home / "lake")), home)


def test_a_good_file_comes_in_whatever_lies_beside_it(story):
    assert story.usable["good.jsonl"] == 1


def test_each_sibling_is_refused_as_a_whole_or_has_its_lines_somewhere(story):
    for name, sibling in story.siblings.items():
        lines = story.usable[name] + story.lines[name]
        assert story.whole[name] <= 1, sibling
        assert not (story.whole[name] and lines), (sibling, story.reasons[name])
        assert story.whole[name] or lines or sibling.is_blank, sibling
        assert sibling.instead == "file" or story.whole[name], sibling


def test_nothing_but_what_landed_is_named(story):
    known = {"good.jsonl", *story.siblings, *story.tables}

    assert story.usable.keys() | story.whole.keys() | story.lines.keys() <= known


def test_a_column_of_any_type_refuses_its_row_by_name_or_nothing(story):
    for file, (name, kind) in story.tables.items():
        refusals = story.whole[file] + story.lines[file]
        assert story.usable[file] + refusals == 1, (file, name, kind)
        assert name in feeds.EVENTS.names or name == "EVENT_ID" or not refusals, (name, kind, story.reasons[file])
        assert not refusals or name.lower() in story.reasons[file].lower(), (name, kind, story.reasons[file])


def test_what_was_met_once_is_not_met_again(story):
    assert story.second == feeds.loaded()
