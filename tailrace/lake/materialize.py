"""Rows computed once and read several times."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

# So many rows are worked on in one task, without a shuffle: a task costs more than they do.
FEW = 20_000
# So many, some 100 MB, are sent to every task that joins them with a large table; more are shuffled, and the table too.
BROADCAST = 500_000
ROWS = "rows"


@dataclass(frozen=True)
class Materialized:
    """Computed rows, and what was counted among them: all of them as `ROWS`, others by the names they were given."""

    frame: DataFrame
    counts: dict[str, int]


@contextmanager
def materialized(
    rows: DataFrame, *, totals: Mapping[str, Column] = MappingProxyType({}), **counted: Column
) -> Iterator[Materialized]:
    """Compute rows in one pass and keep them for the statements inside.

    `counted` has conditions to count by, `totals` whole numbers to add up.

    Not `DataFrame.persist`: that keeps the plan, which is then analysed again with all that is built on it, and takes
    jobs of its own to count. Each block is kept by two executors where there are more than one.
    """
    seen = Observation()
    counts = [F.count_if(condition).alias(name) for name, condition in counted.items()]
    counts += [F.sum(number).alias(name) for name, number in totals.items()]
    observed = rows.observe(seen, F.count(F.lit(1)).alias(ROWS), *counts)
    frame = observed.localCheckpoint(storageLevel=StorageLevel.MEMORY_AND_DISK_2)
    try:
        found = {name: int(count or 0) for name, count in seen.get.items()}
        yield Materialized(frame.coalesce(1) if found[ROWS] <= FEW else frame, found)
    finally:
        release(frame)


def to_join(frame: DataFrame, *, rows: int) -> DataFrame:
    """Rows that a large table is joined with; Spark goes by an estimate made before they were computed."""
    return F.broadcast(frame) if rows <= BROADCAST else frame


def release(frame: DataFrame) -> None:
    """Give up the blocks of a checkpoint now rather than when the JVM next looks for what is no longer used."""
    plan: Any = frame._jdf.queryExecution().logical()
    plan.rdd().unpersist(False)
