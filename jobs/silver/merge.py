"""Silver: the last delivery of each event and document, without what came from excluded files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.bronze.set_aside import ASIDE, aside_version, files_left_out, has_files_to_take_back, last_read, left_in
from tailrace.lake.commit import Transaction, amend
from tailrace.lake.session import ROWS, Materialized, materialized, to_join
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, silver
from tailrace.schemas.bronze import DELIVERY_ORDER
from tailrace.schemas.tables import Table

Transform = Callable[[DataFrame], DataFrame]

# Where the delivery came from that silver had; next to the columns of the one that replaces it.
OUT = {"file": "out_file", "batch": "out_batch"}


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """Rows of a silver table that an earlier delivery has replaced, and those that went because there is no other."""

    replaced: int = 0
    removed: int = 0


def withdraw(lake: Lake, *, source: Table, target: Table, transform: Transform, state: dict[str, Any]) -> Withdrawn:
    """Make silver what it would be had the excluded files never come, up to load `state["batch"]`, and commit that it is so.

    `state["aside"]` is the version of `bronze.SET_ASIDE` that says which files these are.
    """
    aside = files_left_out(lake, feed=source.name, version=state["aside"])
    lost = lake.read(target).join(F.broadcast(aside), on=[*OUT], how="left_semi")
    with materialized(lost.select(*target.key, *(F.col(name).alias(out) for name, out in OUT.items()))) as gone:
        if not gone.counts[ROWS]:
            keep(lake, target, state=state)
            return Withdrawn()
        ids = to_join(gone.frame, rows=gone.counts[ROWS])
        read = lake.read(source).where(F.col("batch") <= state["batch"])
        others = left_in(lake, read, feed=source.name, version=state["aside"])
        last = transform(others.join(ids, on=[*target.key], how="left_semi"))
        with materialized(gone.frame.join(last, on=[*target.key], how="left"), replaced=F.isnotnull("file")) as rows:
            replaced = rows.counts["replaced"]
            lake.audit(target, Materialized(rows.frame.where("file is not null"), {ROWS: replaced}), feed=source.name)
            same = " AND ".join(f"old.{name} = new.{out}" for name, out in OUT.items())
            amend(lake, target, rows.frame, same=same, stays="new.file IS NOT NULL", state=state)
            return Withdrawn(replaced=replaced, removed=rows.counts[ROWS] - replaced)


def keep(lake: Lake, target: Table, *, state: dict[str, Any]) -> None:
    """Commit only the state: the next run need not look again."""
    Transaction(lake, target, state=state | {"started_from": lake.version(target)}).commit({})


def merge_unread(lake: Lake, *, source: Table, target: Table, transform: Callable[[DataFrame], DataFrame]) -> Withdrawn:
    """Merge the batches of a bronze table that silver has not read, and take back what files brought that were excluded since.

    The last batch read is silver's state, with the version of the excluded files.
    """
    before, newest, aside = last_read(lake, target), lake.last_appended(source), aside_version(lake)
    of_aside = {} if aside is None else {ASIDE: aside}
    back = Withdrawn()
    if has_files_to_take_back(lake, target):
        lake.expect_rows()
        state = {"batch": before, **of_aside}
        back = withdraw(lake, source=source, target=target, transform=transform, state=state)
    if newest == before:
        lake.create(target)
        return back
    lake.expect_rows()
    unread = lake.read(source).where((F.col("batch") > before) & (F.col("batch") <= newest))
    with materialized(transform(left_in(lake, unread, feed=source.name, version=aside))) as rows:
        lake.audit(target, rows, feed=source.name)
        lake.upsert(target, rows.frame, newer=is_newer(), state={"batch": newest, **of_aside})
    return back


def keep_last_delivery(deliveries: DataFrame, *, of: str) -> DataFrame:
    """One row per id in column `of`; the delivery order is unique, so reruns agree."""
    newest_first = Window.partitionBy(of).orderBy(*(F.desc(column) for column in DELIVERY_ORDER))
    ranked = deliveries.withColumn("delivery", F.row_number().over(newest_first))
    return ranked.where("delivery = 1").drop("delivery")


def is_newer() -> str:
    """The condition under which a row replaces the one that silver holds."""
    new, old = (", ".join(f"{side}.{column}" for column in DELIVERY_ORDER) for side in ("new", "old"))
    return f"struct({new}) > struct({old})"


def run_interactions(lake: Lake) -> Withdrawn:
    """Bring `silver.INTERACTIONS` up to bronze."""
    return merge_unread(lake, source=bronze.EVENTS, target=silver.INTERACTIONS, transform=to_interactions)


def to_interactions(events: DataFrame) -> DataFrame:
    """Turn `bronze.EVENTS` into `silver.INTERACTIONS`."""
    return keep_last_delivery(events, of="event_id").select(*silver.INTERACTIONS.columns)


def run_documents(lake: Lake) -> Withdrawn:
    """Bring `silver.DOCUMENTS` up to bronze."""
    return merge_unread(lake, source=bronze.DOCUMENTS, target=silver.DOCUMENTS, transform=to_documents)


def to_documents(deliveries: DataFrame) -> DataFrame:
    """Turn `bronze.DOCUMENTS` into `silver.DOCUMENTS`."""
    return keep_last_delivery(deliveries, of="document_id").select(*silver.DOCUMENTS.columns)
