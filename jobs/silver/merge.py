"""Silver: the last delivery of each event, or of each key of a table, without what came from excluded files."""

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.bronze.set_aside import ASIDE, aside_version, files_left_out, has_files_to_take_back, last_read, left_in
from tailrace.lake.commit import Transaction, amend
from tailrace.lake.session import ROWS, Materialized, materialized, to_join
from tailrace.lake.tables import Lake
from tailrace.schemas.bronze import DELIVERY_ORDER
from tailrace.schemas.landing import Feed, LandingError
from tailrace.schemas.tables import Table

# Where the delivery came from that silver had; next to the columns of the one that replaces it.
OUT = {"file": "out_file", "batch": "out_batch"}


@dataclass(frozen=True, kw_only=True)
class Withdrawn:
    """Rows of a silver table that an earlier delivery has replaced, and those that went because there is no other."""

    replaced: int = 0
    removed: int = 0


def withdraw(lake: Lake, feed: Feed, target: Table, *, state: dict[str, Any]) -> Withdrawn:
    """Make silver what it would be had the excluded files never come, up to load `state["batch"]`, and commit that it is so.

    `state["aside"]` is the version of `bronze.SET_ASIDE` that says which files these are.
    """
    aside = files_left_out(lake, feed=feed.name, version=state["aside"])
    lost = lake.read(target).join(F.broadcast(aside), on=[*OUT], how="left_semi")
    with materialized(lost.select(*target.key, *(F.col(name).alias(out) for name, out in OUT.items()))) as gone:
        if not gone.counts[ROWS]:
            keep(lake, target, state=state)
            return Withdrawn()
        ids = to_join(gone.frame, rows=gone.counts[ROWS])
        read = lake.read(feed.table).where(F.col("batch") <= state["batch"])
        others = left_in(lake, read, feed=feed.name, version=state["aside"])
        last = last_deliveries(others.join(ids, on=[*target.key], how="left_semi"), target)
        with materialized(gone.frame.join(last, on=[*target.key], how="left"), replaced=F.isnotnull("file")) as rows:
            replaced = rows.counts["replaced"]
            lake.audit(target, Materialized(rows.frame.where("file is not null"), {ROWS: replaced}), feed=feed.name)
            same = " AND ".join(f"old.{name} = new.{out}" for name, out in OUT.items())
            amend(lake, target, rows.frame, same=same, stays="new.file IS NOT NULL", state=state)
            return Withdrawn(replaced=replaced, removed=rows.counts[ROWS] - replaced)


def keep(lake: Lake, target: Table, *, state: dict[str, Any]) -> None:
    """Commit only the state: the next run need not look again."""
    Transaction(lake, target, state=state | {"started_from": lake.version(target)}).commit({})


def merge_unread(lake: Lake, feed: Feed) -> Withdrawn:
    """Merge the loads of a feed that silver has not read, and take back what files brought that were excluded since.

    The last load read is silver's state, with the version of the excluded files.
    """
    target = feed.silver
    if target is None:
        return Withdrawn()
    before, newest, aside = last_read(lake, target), lake.last_appended(feed.table), aside_version(lake)
    if not before and lake.state(target) is not None:
        raise LandingError(
            f"source {feed.name!r}: {target.full_name} has the rows of a table that it read before, which did not land; give the "
            "source another name, or silver='…'"
        )
    of_aside = {} if aside is None else {ASIDE: aside}
    back = Withdrawn()
    if has_files_to_take_back(lake, target):
        lake.expect_rows()
        back = withdraw(lake, feed, target, state={"batch": before, **of_aside})
    if newest == before:
        lake.create(target)
        return back
    lake.expect_rows()
    unread = lake.read(feed.table).where((F.col("batch") > before) & (F.col("batch") <= newest))
    left = left_in(lake, unread, feed=feed.name, version=aside)
    with materialized(last_deliveries(left, target)) as rows:
        lake.audit(target, rows, feed=feed.name)
        lake.upsert(target, rows.frame, newer=is_newer(), state={"batch": newest, **of_aside})
    return back


def last_deliveries(deliveries: DataFrame, table: Table) -> DataFrame:
    """One row of a silver table for each key; the delivery order is unique, so reruns agree."""
    newest_first = Window.partitionBy(*table.key).orderBy(*(F.desc(column) for column in DELIVERY_ORDER))
    ranked = deliveries.withColumn("delivery", F.row_number().over(newest_first))
    return ranked.where("delivery = 1").select(*table.columns)


def is_newer() -> str:
    """The condition under which a row replaces the one that silver holds."""
    new, old = (", ".join(f"{side}.{column}" for column in DELIVERY_ORDER) for side in ("new", "old"))
    return f"struct({new}) > struct({old})"
