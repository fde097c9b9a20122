"""What the ledger, silver and bronze have seen of views."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import BatchView, FeatureView
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, silver
from tailrace.schemas.ledger import RUNS
from tailrace.workspace.lane_plan import PRICE, Observed, Terms, plan
from tailrace.workspace.resources import Resources

LAST_RUNS = 100
USUAL = ("changes", "nothing new")  # first loads and snapshots do not measure the changes


def plan_lanes(workspace: Resources, *, price: float | None = None) -> dict[str, Any]:
    """The lane that suits each view, with the figures and reasons; `wrong` names the views that are in another."""
    views = list(workspace.definitions.views.values())
    price = PRICE if price is None else price
    terms = Terms(interval=timedelta(minutes=workspace.settings.schedule.refresh_minutes), price=price)
    seen = observe(workspace.lake, views)
    plans = {view.name: plan(view, seen[view.name], terms) for view in views}
    wrong = [name for name, one in plans.items() if not one["is_right"]]
    return {"views": plans, "wrong": wrong, "price_per_million": price}


def observe(lake: Lake, views: Iterable[FeatureView]) -> dict[str, Observed]:
    """What was seen of each view, by name."""
    pushes, events, direct = pushes_of(lake), events_per_day(lake), direct_per_day(lake)
    return {view.name: observed(lake, view, pushes.get(view.name), events, direct.get(view.name)) for view in views}


def observed(lake: Lake, view: FeatureView, pushes: Any, events: float | None, direct: float | None) -> Observed:
    state = lake.state(view.table) if isinstance(view, BatchView) else None
    seconds = pushes.age_seconds if pushes else None
    return Observed(
        rows=state.rows if state else None,
        runs=pushes.runs if pushes else 0,
        writes_per_run=float(pushes.writes) if pushes else None,
        value_bytes=pushes.value_bytes if pushes else None,
        age_at_end=None if seconds is None else timedelta(seconds=seconds),
        events_per_day=events if view.inputs == ("interactions",) else None,
        direct_per_day=direct,
    )


def pushes_of(lake: Lake) -> dict[str, Any]:
    """By view: `runs`, mean `writes` of one, `value_bytes`, and the least `age_seconds` when one ended."""
    if not lake.exists(RUNS):
        return {}
    runs = lake.read(RUNS).where(F.isnull("failure") & F.col("how").isin(*USUAL))
    newest = F.expr("row_number() OVER (PARTITION BY view ORDER BY started_at DESC, run)")
    age = F.expr("unix_micros(started_at) / 1e6 + seconds - unix_micros(as_of) / 1e6")
    rows = runs.withColumn("number", newest).where(F.col("number") <= LAST_RUNS).withColumn("age", age)
    told = rows.groupBy("view").agg(
        F.count("*").alias("runs"),
        F.avg(F.col("pushed") + F.col("removed")).alias("writes"),
        (F.sum("bytes") / F.nullif(F.sum("pushed"), F.lit(0))).alias("value_bytes"),
        # The least: runs that replay events of before end long after their as-of, and do not measure a schedule.
        F.min(F.when(F.col("age") >= 0, F.col("age"))).alias("age_seconds"),
    )
    return {row.view: row for row in told.collect()}


def events_per_day(lake: Lake) -> float | None:
    """Events of the newest day that there are events of."""
    if not lake.exists(silver.INTERACTIONS):
        return None
    return in_newest_day(lake.read(silver.INTERACTIONS), "occurred_at").get(None)


def direct_per_day(lake: Lake) -> dict[Any, float]:
    """By view: values written in the newest day that there are any of."""
    if not lake.exists(bronze.DIRECT_WRITES):
        return {}
    return in_newest_day(lake.read(bronze.DIRECT_WRITES), "accepted_at", by="view")


def in_newest_day(rows: DataFrame, time: str, *, by: str | None = None) -> dict[Any, float]:
    key = F.col(by) if by else F.lit(None).cast("string")
    newest = rows.agg(F.max(time)).collect()[0][0]
    if newest is None:
        return {}
    counted = rows.where(F.col(time) > F.lit(newest - timedelta(days=1))).groupBy(key.alias("key")).count()
    return {row["key"]: float(row["count"]) for row in counted.collect()}
