"""Take back from silver what files brought that were set aside after it had read them.

Only ids whose last delivery was in such a file are concerned. Each gets the last delivery among the files that are left,
or goes; gold and the store follow by the change feed as they follow everything else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.set_aside import files_left_out, left_in
from tailrace.lake.amend import amend
from tailrace.lake.held import ROWS, Held, held, to_join
from tailrace.lake.tables import Lake
from tailrace.lake.transaction import Transaction
from tailrace.schemas.tables import Table

Transform = Callable[[DataFrame], DataFrame]

# Where the delivery came from that silver had; beside it stand the columns of the one that replaces it.
OUT = {"file": "out_file", "batch": "out_batch"}


@dataclass(frozen=True, kw_only=True)
class TakenBack:
    """Rows of a silver table that an earlier delivery has replaced, and those that went because there is no other."""

    replaced: int = 0
    removed: int = 0


def take_back(lake: Lake, *, source: Table, target: Table, transform: Transform, state: dict[str, Any]) -> TakenBack:
    """Make silver what it would be had the files set aside never come, up to load `state["batch"]`, and commit that it is so.

    `state["aside"]` is the version of `bronze.SET_ASIDE` that says which files these are.
    """
    aside = files_left_out(lake, feed=source.name, version=state["aside"])
    lost = lake.read(target).join(F.broadcast(aside), on=[*OUT], how="left_semi")
    with held(lost.select(*target.key, *(F.col(name).alias(out) for name, out in OUT.items()))) as gone:
        if not gone.counts[ROWS]:
            keep(lake, target, state=state)
            return TakenBack()
        ids = to_join(gone.frame, rows=gone.counts[ROWS])
        read = lake.read(source).where(F.col("batch") <= state["batch"])
        others = left_in(lake, read, feed=source.name, version=state["aside"])
        last = transform(others.join(ids, on=[*target.key], how="left_semi"))
        with held(gone.frame.join(last, on=[*target.key], how="left"), replaced=F.isnotnull("file")) as rows:
            replaced = rows.counts["replaced"]
            lake.audit(target, Held(rows.frame.where("file is not null"), {ROWS: replaced}), feed=source.name)
            same = " AND ".join(f"old.{name} = new.{out}" for name, out in OUT.items())
            amend(lake, target, rows.frame, same=same, stays="new.file IS NOT NULL", state=state)
            return TakenBack(replaced=replaced, removed=rows.counts[ROWS] - replaced)


def keep(lake: Lake, target: Table, *, state: dict[str, Any]) -> None:
    """Commit the state alone, so that the next run need not look again."""
    Transaction(lake, target, state=state | {"started_from": lake.version(target)}).commit({})
