"""What may land: the feeds, their fields, and the rules a line must keep."""

from dataclasses import dataclass
from functools import cached_property

from tailrace.errors import DataError
from tailrace.schemas import bronze
from tailrace.schemas.expectations import expect
from tailrace.schemas.tables import Column, Table, Type

EVENT_TYPE = "[a-z][a-z0-9_]{0,62}"
TIME = r"(?!0000)\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?"
MAXIMUM_HOURS_AHEAD = 24  # of the wall clock; clocks drift, but no event is known a day before it happens

LINE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
PARQUET_SUFFIX = ".parquet"
OBJECTS = ("attributes", "keys", "values")  # fields that hold a JSON object, kept as its text
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


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A folder below the landing folder; `renamed` maps a landing field to its bronze column where they differ."""

    name: str
    table: Table
    required: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()

    @cached_property
    def facts(self) -> dict[str, Column]:
        """The column that each field of a line fills."""
        landed = {column: field for field, column in self.renamed}
        facts = (column for column in self.table.fields if column not in bronze.DELIVERY)
        return {landed.get(column.name, column.name): column for column in facts}

    def is_id(self, field: str) -> bool:
        """Whether a field holds an id, by the rule of `tailrace.schemas.ids`."""
        return field.endswith("id") or field == "owner"

    def folder(self, landing_folder: str) -> str:
        """The feed's folder in the landing folder."""
        return f"{landing_folder}/{self.name}"

    @property
    def lines(self) -> Table:
        """What is expected of the lines of a load, usable or not; a table by its looks only."""
        return Table(layer="landing", name=self.name, fields=LINES, key=("file", "line"), expectations=OF_LINES)


EVENTS = Feed(
    name="events",
    table=bronze.EVENTS,
    required=("event_id", "event_type", "actor_id", "document_id", "occurred_at"),
)

DOCUMENTS = Feed(
    name="documents",
    table=bronze.DOCUMENTS,
    required=("id",),
    renamed=(("id", "document_id"), ("size", "size_bytes")),
)

# What the reader and Spark wrote to views of the lane direct, landed once the store had it.
DIRECT_WRITES = Feed(
    name="direct_writes",
    table=bronze.DIRECT_WRITES,
    required=("view", "keys", "occurred_at", "revision", "accepted_at"),
)

FEEDS = (EVENTS, DOCUMENTS, DIRECT_WRITES)
