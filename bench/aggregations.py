"""Each aggregation brought forward by what changed, next to its full computation of the same rows in the same run.

One view has one line, and one view has all of them. Before each refresh events of a share of the keys arrive, and others
leave a window. The full computation begins from gold as the refresh left it, and has to find 0 changed rows.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bench.prepared_history import START, delivery, micros, spread
from bench.refreshes import Figures, Progress
from jobs.gold import refresh as gold
from tailrace.definitions import (
    BOOL,
    FLOAT64,
    STRING,
    BatchView,
    Count,
    Definitions,
    Entity,
    EventSource,
    Field,
    First,
    FirstValue,
    Last,
    LastValue,
    Max,
    Mean,
    Min,
    NewestIs,
    StdDev,
    Sum,
    Time,
    Variance,
)
from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.lake import storage
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import GRID

STEPS = 2  # the first one warms up
EVENTS_PER_KEY = 5
OVER = ("24h", "7d", "total")
SOURCE = EventSource(
    name="payments",
    id="payment",
    time=Time("at"),
    type="kind",
    fields=(
        Field("account", STRING),
        Field("kind", STRING, required=True),
        Field("flagged", BOOL),
        Field("amount", FLOAT64),
    ),
)
LINES: tuple[Aggregation, ...] = (
    Count(name="count", over=OVER),
    Count(name="flagged", where="flagged AND amount > 10", over=OVER),
    Sum(name="sum", of="amount", over=OVER),
    Mean(name="mean", of="amount", over=OVER),
    Variance(name="variance", of="amount", over=OVER),
    StdDev(name="std_dev", of="amount", over=OVER),
    Min(name="min", of="amount", over=OVER),
    Max(name="max", of="amount", over=OVER),
    First(name="first", over=OVER),
    Last(name="last", over=OVER),
    FirstValue(name="first_value", of="amount", over=OVER),
    LastValue(name="last_value", of="amount", over=OVER),
    NewestIs(name="newest_is", type="refund"),
)
ALL = "all"


def view_of(name: str, *lines: Aggregation) -> BatchView:
    """A view by account of these lines."""
    return BatchView(
        name=f"bench_{name}",
        entities=(Entity("account", "account"),),
        owner="bench",
        description="",
        freshness=timedelta(hours=1),
        source=SOURCE,
        aggregations=lines,
    )


@dataclass(frozen=True, kw_only=True)
class AggregationBench:
    """A lake of the bench's own, with events of so many keys, of which a share gets one more in each step."""

    lake: Lake
    keys: int
    changed: int
    progress: Progress

    def run(self) -> Figures:
        """The seconds of each aggregation both ways; `worst` is the one whose ratio is the smallest."""
        views = {line.name: view_of(line.name, line) for line in LINES} | {ALL: view_of(ALL, *LINES)}
        storage.delete(self.lake.spark, self.lake.root)
        self.lake.create(SOURCE.silver_table)
        self.progress(f"writing events of {self.keys:,} keys")
        self.append(self.quiet_events())
        for view in views.values():
            self.progress(f"{view.name}: the first refresh")
            self.refresh(view, step=0)
        for step in range(1, STEPS + 1):
            self.append(self.arrivals(step))
            figures = {name: self.measured(view, step=step) for name, view in views.items()}
        worst = min(figures, key=lambda name: float(figures[name]["ratio"]))
        return {
            "keys": self.keys,
            "changed_keys": self.changed,
            "aggregations": figures,
            "ratio_all": figures[ALL]["ratio"],
            "worst": worst,
            "worst_ratio": figures[worst]["ratio"],
        }

    def measured(self, view: BatchView, *, step: int) -> Figures:
        """One view brought to a step by what changed, and computed in full there."""
        self.progress(f"{view.name}: refresh {step}")
        incremental, seconds = self.refresh(view, step=step)
        full, full_seconds = self.refresh(view, step=step, full=True)
        return {
            "how": incremental.how,
            "seconds": seconds,
            "full_seconds": full_seconds,
            "ratio": full_seconds / seconds,
            "changed": incremental.changed,
            "settled_keys": incremental.settled_keys,
            "differing": full.changed,
        }

    def refresh(self, view: BatchView, *, step: int, full: bool = False) -> tuple[gold.Refreshed, float]:
        definitions = Definitions(views={view.name: view}, on_demand={}, services={}, declared=(SOURCE,))
        began = time.monotonic()
        done = gold.run(self.lake, definitions, as_of=START + step * GRID, full=full)
        return done[view.name], time.monotonic() - began

    def quiet_events(self) -> DataFrame:
        """Events of all keys between an hour and twenty days before the first step; some leave a window in each step."""
        minutes = 60 + spread(F.col("id"), "minutes", 20 * 24 * 60)
        rows = self.lake.spark.range(self.keys * EVENTS_PER_KEY)
        at = F.lit(START) - micros(minutes * 60_000_000)
        return rows.withColumn("at", at).select(*self.event_columns("q", F.col("id") % self.keys))

    def arrivals(self, step: int) -> DataFrame:
        """One event of each key that changes in a step."""
        rows = self.lake.spark.range(self.changed).withColumn("at", F.lit(START + step * GRID - GRID / 2))
        return rows.select(*self.event_columns(f"a{step}", spread(F.col("id"), f"k{step}", self.keys)))

    def event_columns(self, name: str, key: Column) -> list[Column]:
        own = F.col("id")
        values: dict[str, Any] = {
            "payment": F.concat(F.lit(f"{name}-"), own),
            "at": F.col("at"),
            "account": F.format_string("a%08d", key),
            "kind": F.when(spread(own, f"{name}t", 10) == 0, "refund").otherwise("payment"),
            "flagged": spread(own, f"{name}f", 4) == 0,
            "amount": spread(own, f"{name}m", 100_000) / 100,
        }
        return [column.alias(field) for field, column in (values | delivery()).items()]

    def append(self, events: DataFrame) -> None:
        table = SOURCE.silver_table
        rows = events.select(*table.columns).sortWithinPartitions("at")
        rows.write.format("delta").mode("append").save(self.lake.path(table))
