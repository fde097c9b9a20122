"""What may land: feeds, their fields, and the rules that a line must keep."""

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from tailrace.errors import DataError
from tailrace.schemas import bronze
from tailrace.schemas.expectations import expect
from tailrace.schemas.tables import Column, Table, Type

TIME = r"(?!0000)\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?"
MAXIMUM_HOURS_AHEAD = 24  # of the wall clock; clocks drift, but no event is known a day before it happens

LINE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
PARQUET_SUFFIX = ".parquet"
CSV_SUFFIXES = (".csv", ".csv.gz")
TEMPORARY_PREFIXES = (".", "_")
TEMPORARY_SUFFIXES = (".tmp", ".part", ".partial", ".inprogress", ".crdownload", ".filepart")

LINES = (
    bronze.FILE,
    Column("line", Type.INT64, "line or row within the file, from 1", nullable=False),
    Column("reason", Type.STRING, "why it was refused; null for a usable line"),
)
# Bad lines go to quarantine one by one; where most are bad, the feed itself changed.
OF_LINES = (expect("expect_column_values_to_be_null", column="reason", mostly=0.5, least_rows=100),)


class LandingError(DataError):
    """A landed file that a load needs and cannot have; the message names it and what to do."""


# Microseconds in one of each unit that a time may be counted in; a nanosecond is a part of one.
MICROS_IN = {"s": Decimal(1_000_000), "ms": Decimal(1_000), "us": Decimal(1), "ns": Decimal("0.001")}
UTC_ZONE = "UTC"


@dataclass(frozen=True, kw_only=True)
class FeedField:
    """One field of a line: where the line has it, the column that it fills, and the rules that it keeps.

    `path` names it from the outside in. A field whose column is never null is required. `is_object` says that it holds a
    JSON object, kept as its text, and `pattern` what a text has to match. A time is a text, which without an offset is of
    `zone`, or counts `unit` since 1970; `may_be_ahead` says that it may be after now, as that of a plan.
    """

    column: Column
    path: tuple[str | int, ...]
    is_id: bool = False
    is_object: bool = False
    pattern: str | None = None
    unit: str | None = None
    zone: str = UTC_ZONE
    may_be_ahead: bool = False

    @property
    def name(self) -> str:
        """The field as messages call it, such as `request.q`."""
        return ".".join(map(str, self.path))

    @property
    def required(self) -> bool:
        """Whether a line without it is refused."""
        return not self.column.nullable


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A folder below the landing folder, or a topic: its fields, and the tables that they fill.

    `row_id` is the column for a digest of all the fields, of a feed whose lines have no id. `silver` is None for what is
    read from bronze itself. `lands` says whether it has a folder.
    """

    name: str
    fields: tuple[FeedField, ...]
    table: Table
    silver: Table | None = None
    row_id: str | None = None
    lands: bool = True

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns that its lines fill, in order."""
        return tuple(column for column in self.table.fields if column not in bronze.DELIVERY)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields at the top of a line that it reads."""
        return tuple(dict.fromkeys(str(field.path[0]) for field in self.fields))

    def folder(self, landing_folder: str) -> str:
        """The feed's folder in the landing folder."""
        return f"{landing_folder}/{self.name}"

    @property
    def lines(self) -> Table:
        """What is expected of the lines of a load, usable or not; a table by its looks only."""
        return Table(layer="landing", name=self.name, fields=LINES, key=("file", "line"), expectations=OF_LINES)


Feeds = tuple[Feed, ...]


@dataclass(frozen=True, kw_only=True)
class TableFeed:
    """A Delta table of others, at `path`, whose rows are those of a feed: a column is what the top of a line is."""

    path: str
    feed: Feed

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change when the same rows would be read as others."""
        of_columns = [
            [one.column.name, str(one.column.type), one.column.nullable, one.column.minimum, one.column.maximum]
            for one in self.feed.fields
        ]
        rules = [
            [list(one.path), one.is_id, one.is_object, one.pattern, one.unit, one.zone, one.may_be_ahead]
            for one in self.feed.fields
        ]
        silver = self.feed.silver
        described = [of_columns, rules, self.feed.row_id, list(silver.key) if silver else None]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _direct_writes() -> Feed:
    objects = ("keys", "values")
    facts = (column for column in bronze.DIRECT_WRITES.fields if column not in bronze.DELIVERY)
    fields = (FeedField(column=one, path=(one.name,), is_object=one.name in objects) for one in facts)
    return Feed(name=bronze.DIRECT_WRITES.name, fields=tuple(fields), table=bronze.DIRECT_WRITES)


# What the reader and Spark wrote to views of the lane direct, landed once the store had it.
DIRECT_WRITES = _direct_writes()
