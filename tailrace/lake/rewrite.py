"""Change the rows of a table that some keys have, reading the table once.

Delta's MERGE reads its target three times: which files match, which rows change, which positions to mark as deleted.
Here one join finds the rows with their files and positions, and everything else is made from its result, which is as
small as the change: new rows, change feed, deletion vectors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.lake.materialize import ROWS, Materialized, materialized, to_join
from tailrace.lake.tables import Lake
from tailrace.lake.transaction import POSITION, Transaction
from tailrace.schemas.tables import Table

UPDATE = "update"
DELETE = "delete"
INSERT = "insert"
LEAVE = "leave"

# What Delta's change feed calls the row of an update before and after.
IMAGES = ("update_preimage", "update_postimage")

# One task writes so many changed rows to one file of the table and one of its change feed.
ROWS_PER_TASK = 50_000


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of the keys of `rows`, in SQL over the row that the table holds, `old`, and theirs, `new`.

    A row goes where `gone`, else changes by `update` where `differs`; a key without a row gets `insert` where `exists`.
    `rows` has one row per key.
    """

    rows: DataFrame
    update: Mapping[str, str]
    insert: Mapping[str, str]
    differs: str
    gone: str
    exists: str


def rewrite(lake: Lake, table: Table, change: Change, *, state: dict[str, Any]) -> None:
    """Apply a change in one commit, also one that changes nothing; raises `Overtaken` where another writer was faster."""
    transaction = Transaction(lake, table, state=state)
    found = match(transaction.read(), table, change)
    with (
        materialized(found, updated=is_one_of(UPDATE), deleted=is_one_of(DELETE)) as matched,
        materialized(missing(matched, table, change)) as inserted,
    ):
        updates, deletes, inserts = matched.counts["updated"], matched.counts["deleted"], inserted.counts[ROWS]
        if updates or deletes or inserts:
            decided = matched.frame.unionByName(inserted.frame, allowMissingColumns=True)
            after = decided.where(is_one_of(UPDATE, INSERT)).select("after.*")
            lake.audit(table, Materialized(after, {ROWS: updates + inserts}))
            transaction.write(to_written(decided).coalesce(1 + (updates + deletes + inserts) // ROWS_PER_TASK))
        if updates or deletes:
            transaction.delete(matched.frame.where(is_one_of(UPDATE, DELETE)).select(*POSITION))
        transaction.commit(
            {
                "numTargetRowsInserted": inserts,
                "numTargetRowsUpdated": updates,
                "numTargetRowsDeleted": deletes,
            }
        )


def match(gold: DataFrame, table: Table, change: Change) -> DataFrame:
    """The rows that the keys have: action, the row before and after, its file and its position there."""
    place = (F.col(f"_metadata.{name}").alias(f"_{name}") for name in POSITION)
    old = gold.select("*", *place).alias("old")
    same_key = [F.col(f"old.{key}") == F.col(f"new.{key}") for key in table.key]
    found = old.join(change.rows.alias("new"), on=same_key, how="inner")  # unique per key on both sides
    action = F.when(F.expr(change.gone), DELETE).when(F.expr(change.differs), UPDATE).otherwise(LEAVE)
    kept = {name: f"old.`{name}`" for name in table.columns}
    return found.select(
        action.alias("action"),
        row_of(table, kept).alias("before"),
        row_of(table, kept | dict(change.update)).alias("after"),
        *(F.col(f"old._{name}").alias(name) for name in POSITION),
    )


def missing(matched: Materialized, table: Table, change: Change) -> DataFrame:
    """The keys that have no row and shall get one: action and the row after."""
    has_row = matched.frame.select(*(F.col(f"before.{key}").alias(key) for key in table.key))
    has_row = to_join(has_row, rows=matched.counts[ROWS])
    without = change.rows.join(has_row, on=list(table.key), how="left_anti").alias("new")
    return without.where(change.exists).select(
        F.lit(INSERT).alias("action"), row_of(table, change.insert).alias("after")
    )


def to_written(decided: DataFrame) -> DataFrame:
    """The table's new rows, `_change_type` null, and the rows of its change feed."""
    new = version_of("after", None)
    written = (
        F.when(F.col("action") == UPDATE, F.array(new, *map(version_of, ("before", "after"), IMAGES)))
        .when(F.col("action") == INSERT, F.array(new, version_of("after", "insert")))
        .when(F.col("action") == DELETE, F.array(version_of("before", "delete")))
    )
    versions = decided.where(is_one_of(UPDATE, DELETE, INSERT)).select(F.explode(written).alias("written"))
    return versions.select("written.row.*", "written._change_type")


def version_of(side: str, change_type: str | None) -> Column:
    return F.struct(F.lit(change_type).cast("string").alias("_change_type"), F.col(side).alias("row"))


def row_of(table: Table, values: Mapping[str, str]) -> Column:
    return F.struct(*(F.expr(values[field.name]).cast(str(field.type)).alias(field.name) for field in table.fields))


def is_one_of(*actions: str) -> Column:
    return F.col("action").isin(*actions)
