"""Signed interactions: what silver's changes and the passing of time add to gold and take away from it.

Every row carries two weights. What gold holds at `until` less what it held at `since` is, for any count,

    sum over the rows of  now x (1 if the row counts at `until`) + then x (1 if the row counts at `since`)

The rows are of two sorts. Silver as it is now, where a row counts otherwise at `until` than at `since` because it crossed
an edge of a window, or happened in between: +1 now, -1 then. And silver's changes since gold was computed, which gold
lacked or held at `since`: an interaction that came +1 then, one that went -1 then, a corrected one both.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import Window
from tailrace.definitions.aggregations.sql import GAINED, weight
from tailrace.lake.history import BEFORE_IMAGES

FACTS = ("event_id", "event_type", "actor_id", "document_id", "occurred_at", "attributes")
ALL_TIME = Window("total", None)


def signed_interactions(
    interactions: DataFrame, changes: DataFrame | None, *, windows: Iterable[Window], since: datetime, until: datetime
) -> DataFrame:
    """Weigh `silver.INTERACTIONS` and its change feed between two refreshes.

    No `changes` means that silver is as it was. Columns: FACTS; per window, by `weight`, what the row adds to a
    count over it; and `gained`: +1 for an interaction that gold had not counted at all and now does, -1 for one that is
    lost to it, 0 for one that only crossed a window's edge.
    """
    crossed = interactions.where(crossed_an_edge(windows, since, until))
    edges = crossed.select(*FACTS, F.lit(1).alias("now"), F.lit(-1).alias("then"))
    signed = edges if changes is None else edges.unionByName(net_changes(changes, since))
    # Times stand in no other expression of a refresh: the code that Spark generates and the JVM compiles for the views
    # is then the same in each refresh.
    weights = [weight_in(window, since, until).alias(weight(window)) for window in sorted(windows, key=str)]
    return signed.select(*FACTS, *weights, weight_in(ALL_TIME, since, until).alias(GAINED))


def crossed_an_edge(windows: Iterable[Window], since: datetime, until: datetime) -> Column:
    """Whether a row left a window, or happened, after `since` and up to `until`."""
    lengths = sorted({window.length for window in windows if window.length is not None})
    edges = [(since, until), *((since - length, until - length) for length in lengths)]
    return reduce(or_, (is_between(after, up_to) for after, up_to in edges))


def is_between(after: datetime, up_to: datetime) -> Column:
    return (F.col("occurred_at") > F.lit(after)) & (F.col("occurred_at") <= F.lit(up_to))


def net_changes(changes: DataFrame, since: datetime) -> DataFrame:
    """What came and went among the interactions that counted at `since`; a re-delivery that says the same is neither."""
    sign = F.when(is_before_image(), -1).otherwise(1)
    counted = changes.where(F.col("occurred_at") <= F.lit(since))
    net = counted.groupBy(*FACTS).agg(F.sum(sign).cast("int").alias("then")).where("then <> 0")
    return net.select(*FACTS, F.lit(0).alias("now"), "then")


def is_before_image() -> Column:
    return F.col("_change_type").isin(*BEFORE_IMAGES)


def weight_in(window: Window, since: datetime, until: datetime) -> Column:
    now, then = (
        F.when(counts_at(window, time), F.col(w)).otherwise(0) for time, w in ((until, "now"), (since, "then"))
    )
    return now + then


def counts_at(window: Window, as_of: datetime) -> Column:
    happened = F.col("occurred_at") <= F.lit(as_of)
    return happened if window.length is None else happened & (F.col("occurred_at") > F.lit(as_of - window.length))
