"""A made-up history in silver, large and quick to make, that changes as many gold rows per refresh as asked for.

Most documents are quiet: two events each, one to four weeks old. What changes between one refresh and the next is laid
out beforehand: events that cross the edge of each window in each step, and for each step the events that arrive. They
fall on documents and actors at random, so changed rows lie in all files."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from tailrace.lake.tables import Lake
from tailrace.schemas.slots import GRID
from tailrace.shipped.sources import documents as document_source
from tailrace.shipped.sources import events as event_source

INTERACTIONS, DOCUMENTS = event_source.silver_table, document_source.silver_table
START = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
STEPS = 24
EDGES = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 24 * 60, 7 * 24 * 60, 30 * 24 * 60))
TYPES = ("view", "view", "view", "edit", "comment", "create", "share", "open")

# Of one event at each edge and one arrival per step, so many rows of the shipped views change.
ROWS_PER_EVENT = 14


@dataclass(frozen=True, kw_only=True)
class History:
    """How large: documents, and how many gold rows shall change per step."""

    documents: int
    changed_rows: int

    @property
    def events_per_edge(self) -> int:
        return max(1, self.changed_rows // ROWS_PER_EVENT)

    @property
    def actors(self) -> int:
        return max(1, self.documents // 20)


def write_history(lake: Lake, history: History) -> None:
    """Create silver with everything that landed before `START`."""
    for table in (INTERACTIONS, DOCUMENTS):
        lake.create(table)
    quiet = quiet_events(lake.spark, history)
    crossing = [edge_events(lake.spark, history, length) for length in EDGES]
    append(lake, reduce(DataFrame.unionByName, crossing, quiet).sortWithinPartitions("occurred_at"))
    documents = lake.spark.range(history.documents).select(*document_columns(version=0))
    documents.write.format("delta").mode("append").save(lake.path(DOCUMENTS))


def land_step(lake: Lake, history: History, step: int) -> None:
    """Append what arrives in one step: events, and other facts of a few documents."""
    number = history.events_per_edge
    start = START + (step - 1) * GRID
    rows = lake.spark.range(number).withColumn("at", F.lit(start) + micros(within_tick(F.col("id"), f"a{step}")))
    append(lake, rows.select(*event_columns(history, f"a{step}")))
    chosen = lake.spark.range(number).select(spread(F.col("id"), f"d{step}", history.documents).alias("id")).distinct()
    lake.upsert(DOCUMENTS, chosen.select(*document_columns(version=step)), newer="true", state={"step": step})


def quiet_events(spark: SparkSession, history: History) -> DataFrame:
    """Events that cross no edge of a window in any step."""
    hours = 24 * 8 + spread(F.col("id"), "hours", 24 * 21)
    rows = spark.range(2 * history.documents).withColumn("at", F.lit(START) - micros(hours * 3_600_000_000))
    return rows.select(*event_columns(history, "q", document=F.col("id") % history.documents))


def edge_events(spark: SparkSession, history: History, length: timedelta) -> DataFrame:
    """For each step the events that leave a window in it, as far as they happened before `START`."""
    name = f"e{int(length.total_seconds())}"
    step = 1 + F.floor(F.col("id") / history.events_per_edge)
    offset = step * int(GRID.total_seconds() * 1e6) - within_tick(F.col("id"), name)
    rows = spark.range(STEPS * history.events_per_edge)
    rows = rows.withColumn("at", F.lit(START - length) + micros(offset)).where(F.col("at") <= F.lit(START))
    return rows.select(*event_columns(history, name))


def event_columns(history: History, name: str, *, document: Column | None = None) -> list[Column]:
    """A row of silver per `id` and `at`."""
    own = F.col("id")
    document = spread(own, f"{name}d", history.documents) if document is None else document
    types = F.array(*map(F.lit, TYPES))
    values = {
        "event_id": F.concat(F.lit(name), F.lit("-"), own),
        "event_type": F.get(types, spread(own, f"{name}t", len(TYPES)).cast("int")),
        "actor_id": F.format_string("u%07d", spread(own, f"{name}u", history.actors)),
        "document_id": F.format_string("d%08d", document),
        "occurred_at": F.col("at"),
        "source": F.lit("bench"),
        "attributes": F.lit("{}"),
    }
    return [column.alias(field) for field, column in (values | delivery()).items()]


def document_columns(*, version: int) -> list[Column]:
    values = {
        "document_id": F.format_string("d%08d", "id"),
        "title": F.concat(F.lit("Document "), F.col("id")),
        "type": F.lit("doc"),
        "size_bytes": F.col("id") % 1_000_000 + version,
        "folder": F.lit("/bench"),
        "owner": F.format_string("u%07d", F.col("id") % 1000),
        "updated_at": F.lit(START),
    }
    return [column.alias(field) for field, column in (values | delivery()).items()]


def delivery() -> dict[str, Column]:
    return {
        "delivered_at": F.lit(START),
        "file": F.lit("bench"),
        "line": F.lit(1).cast("bigint"),
        "batch": F.lit(1).cast("bigint"),
    }


def append(lake: Lake, events: DataFrame) -> None:
    path = lake.path(INTERACTIONS)
    events.select(*INTERACTIONS.columns).write.format("delta").mode("append").save(path)


def spread(own: Column, name: str, below: int) -> Column:
    """A number below `below` that looks random and is the same each time."""
    return F.pmod(F.xxhash64(own, F.lit(name)), F.lit(below))


def within_tick(own: Column, name: str) -> Column:
    return spread(own, name, int(GRID.total_seconds() * 1e6))


def micros(number: Column) -> Column:
    return F.make_dt_interval(F.lit(0), F.lit(0), F.lit(0), number / 1_000_000)
