"""Which lane a view belongs in: from its required freshness, what was seen of it, and the cost of a write."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tailrace.definitions import BATCH, DIRECT, STREAM, BatchView, Definitions, DerivedSource, EventSource, FeatureView
from tailrace.definitions.stream_view import FinestView
from tailrace.schemas import bronze
from tailrace.schemas.view_tables import RUNS
from tailrace.workspace.resources import Resources

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from tailrace.lake.tables import Lake

# On-demand write request units of DynamoDB in us-east-1, dollars a million: https://aws.amazon.com/dynamodb/pricing/on-demand/
PRICE = 0.625
UNIT_BYTES = 1_024  # that one unit writes
DAY = timedelta(days=1)
DAYS_PER_MONTH = 30


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was seen of a view; None where nothing was.

    `rows` in gold or in the store, `runs` of the publisher and `writes_per_run` on average, `value_bytes` of one value,
    `age_at_end` is the least age of the values when a push ended, `events_per_day` that the view could count, `direct_per_day` values
    written directly.
    """

    rows: int | None = None
    runs: int = 0
    writes_per_run: float | None = None
    value_bytes: float | None = None
    age_at_end: timedelta | None = None
    events_per_day: float | None = None
    direct_per_day: float | None = None


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How often refreshes run, and dollars for a million write units."""

    interval: timedelta
    price: float


def plan(view: FeatureView, seen: Observed, terms: Terms) -> dict[str, Any]:
    """The lane that suits a view, with the figures and reasons; `is_right` says whether it is in it."""
    batch_age = terms.interval + (seen.age_at_end or terms.interval)
    recommended, reasons = advised(view, batch_age)
    writes = {BATCH: batch_writes(seen, terms), STREAM: seen.events_per_day, DIRECT: seen.direct_per_day}
    if view.has_gold and seen.rows and seen.writes_per_run is not None:
        share = seen.writes_per_run / seen.rows
        reasons.append(f"{share:.2%} of {seen.rows:,} rows are written in a refresh, on average of {seen.runs} runs")
    return {
        "lane": view.lane,
        "recommended": recommended,
        "is_right": recommended == view.lane,
        "freshness_seconds": view.freshness.total_seconds(),
        "batch_age_seconds": batch_age.total_seconds(),
        "writes_per_day": {lane: None if count is None else round(count, 1) for lane, count in writes.items()},
        "dollars_per_month": {lane: cost(count, seen, terms) for lane, count in writes.items()},
        "reasons": reasons,
    }


def advised(view: FeatureView, batch_age: timedelta) -> tuple[str, list[str]]:
    required = f"values are to be at most {length_text(view.freshness)} old"
    if view.written_features:
        return DIRECT, ["its values come from outside: whoever has them writes them"]
    if view.freshness >= batch_age:
        reason = f"{required}, and a refresh has them at most {length_text(batch_age)} old"
        return BATCH, [reason if view.lane == BATCH else f"{reason}, with fewer writes than one for each event"]
    if view.transform is not None:
        reason = f"{required}, and a refresh has them up to {length_text(batch_age)} old; a transform reads whole tables, which no "
        reason += "other lane does: refresh more often, ask for less, or have the values written directly"
        return BATCH, [reason]
    return STREAM, [
        f"{required}, and a refresh has them up to {length_text(batch_age)} old; a stream has them in seconds"
    ]


def batch_writes(seen: Observed, terms: Terms) -> float | None:
    """Values that refreshes write in a day."""
    return None if seen.writes_per_run is None else seen.writes_per_run * (DAY / terms.interval)


def cost(writes_per_day: float | None, seen: Observed, terms: Terms) -> float | None:
    """Dollars a month for values only: a write is charged by its whole item, so this is a lower bound."""
    if writes_per_day is None:
        return None
    units = math.ceil((seen.value_bytes or 1) / UNIT_BYTES)
    return round(writes_per_day * DAYS_PER_MONTH * units * terms.price / 1e6, 4)


def length_text(length: timedelta) -> str:
    seconds = length.total_seconds()
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


LAST_RUNS = 100
USUAL = ("changes", "nothing new")  # first loads and snapshots do not measure the changes


def plan_lanes(workspace: Resources, *, price: float | None = None) -> dict[str, Any]:
    """The lane that suits each view, with the figures and reasons; `wrong` names the views that are in another.

    `finest` is what the view costs by which the stream counts; None where there is none.
    """
    views = list(workspace.definitions.views.values())
    price = PRICE if price is None else price
    terms = Terms(interval=timedelta(minutes=workspace.settings.schedule.refresh_minutes), price=price)
    seen = observe(workspace.lake, workspace.definitions)
    plans = {view.name: plan(view, seen[view.name], terms) for view in views}
    wrong = [name for name, one in plans.items() if not one["is_right"]]
    finest = workspace.definitions.finest
    cost_of_finest = finest and finest_cost(workspace.lake, finest, terms)
    shown = {"views": plans, "wrong": wrong, "finest": cost_of_finest, "price_per_million": price}
    from jobs.silver.follow import last_readings  # the command line knows the price without Spark

    tables = last_readings(workspace.lake, workspace.definitions.table_feeds)
    return shown | ({"tables": tables} if tables else {})


def observe(lake: "Lake", definitions: Definitions) -> dict[str, Observed]:
    """What was seen of each view, by name."""
    pushes, events, direct = pushes_of(lake), events_per_day(lake, definitions), direct_per_day(lake)
    return {
        view.name: observe_view(lake, view, pushes.get(view.name), events.get(view.name), direct.get(view.name))
        for view in definitions.views.values()
    }


def observe_view(lake: "Lake", view: FeatureView, pushes: Any, events: float | None, direct: float | None) -> Observed:
    state = lake.state(view.table) if isinstance(view, BatchView) else None
    seconds = pushes.age_seconds if pushes else None
    return Observed(
        rows=state.rows if state else None,
        runs=pushes.runs if pushes else 0,
        writes_per_run=float(pushes.writes) if pushes else None,
        value_bytes=pushes.value_bytes if pushes else None,
        age_at_end=None if seconds is None else timedelta(seconds=seconds),
        events_per_day=events,
        direct_per_day=direct,
    )


def pushes_of(lake: "Lake") -> dict[str, Any]:
    """By view: `runs`, mean `writes` of one, `value_bytes`, and the least `age_seconds` when one ended."""
    from pyspark.sql import functions as F

    if not lake.exists(RUNS):
        return {}
    runs = lake.read(RUNS).where(F.isnull("failure") & F.col("how").isin(*USUAL))
    newest = F.expr("row_number() OVER (PARTITION BY view ORDER BY started_at DESC, run)")
    age = F.expr("unix_micros(started_at) / 1e6 + seconds - unix_micros(as_of) / 1e6")
    rows = runs.withColumn("number", newest).where(F.col("number") <= LAST_RUNS).withColumn("age", age)
    figures = rows.groupBy("view").agg(
        F.count("*").alias("runs"),
        F.avg(F.col("pushed") + F.col("removed")).alias("writes"),
        (F.sum("bytes") / F.nullif(F.sum("pushed"), F.lit(0))).alias("value_bytes"),
        # The least: runs that replay events of before end long after their as-of, and do not measure a schedule.
        F.min(F.when(F.col("age") >= 0, F.col("age"))).alias("age_seconds"),
    )
    return {row.view: row for row in figures.collect()}


def events_per_day(lake: "Lake", definitions: Definitions) -> dict[str, float | None]:
    """By view of one source of events: how many that has in the newest day that there are any of."""
    of_events = (one for one in definitions.sources_and_derived if isinstance(one, EventSource | DerivedSource))
    sources = {one.silver_table.name: one for one in of_events}
    views = definitions.views.values()
    of_views = {view.name: view.inputs[0] for view in views if len(view.inputs) == 1 and view.inputs[0] in sources}
    counts = {
        name: in_newest_day(lake.read(sources[name].silver_table), sources[name].words.time).get(None)
        for name in dict.fromkeys(of_views.values())
        if lake.exists(sources[name].silver_table)
    }
    return {view: counts.get(name) for view, name in of_views.items()}


def direct_per_day(lake: "Lake") -> dict[Any, float]:
    """By view: values written in the newest day that there are any of."""
    if not lake.exists(bronze.DIRECT_WRITES):
        return {}
    return in_newest_day(lake.read(bronze.DIRECT_WRITES), "accepted_at", by="view")


def in_newest_day(rows: "DataFrame", time: str, *, by: str | None = None) -> dict[Any, float]:
    from pyspark.sql import functions as F  # the command line knows the price without Spark

    key = F.col(by) if by else F.lit(None).cast("string")
    newest = rows.agg(F.max(time)).collect()[0][0]
    if newest is None:
        return {}
    counted = rows.where(F.col(time) > F.lit(newest - timedelta(days=1))).groupBy(key.alias("key")).count()
    return {row["key"]: float(row["count"]) for row in counted.collect()}


def finest_cost(lake: "Lake", view: FinestView, terms: Terms) -> dict[str, Any]:
    """The view by which a stream counts, with the items and events of the newest day of its source, and their cost.

    Each event counts as a write, of an item that has the ids of all events of its day: both are upper bounds.
    """
    events, items = newest_events(lake, view) or (None, None)
    value_bytes = item_bytes(view, events / items) if events and items else None
    seen = Observed(events_per_day=events, value_bytes=value_bytes)
    return {
        "view": view.name,
        "declared": view.is_declared,
        "keys": list(view.keys),
        "items_per_day": items,
        "writes_per_day": events,
        "value_bytes": value_bytes and round(value_bytes),
        "dollars_per_month": cost(events, seen, terms),
    }


def finest_words(found: dict[str, Any]) -> str:
    """Why there is such a view, and how much of it."""
    why = f"a stream counts each event once by its items, one for each {' and '.join(found['keys'])}"
    if found["items_per_day"] is None:
        return why
    return f"{why}: {found['items_per_day']:,.0f} in a day, of at most {found['value_bytes']:,} bytes on average"


def newest_events(lake: "Lake", view: FinestView) -> tuple[float, float] | None:
    """How many events the newest day has, and how many combinations of a view's keys; None without events."""
    from pyspark.sql import functions as F

    words, table = view.event_source.words, view.event_source.silver_table
    newest = lake.read(table).agg(F.max(words.time)).collect()[0][0] if lake.exists(table) else None
    if newest is None:
        return None
    of_day = lake.read(table).where(F.col(words.time) > F.lit(newest - DAY))
    keys = F.struct(*(entity.column for entity in view.entities))  # a null in it is a value like others
    [found] = of_day.agg(F.count("*").alias("events"), F.count_distinct(keys).alias("keys")).collect()
    return float(found.events), float(found["keys"])


def item_bytes(view: FinestView, events: float) -> float:
    """How many bytes the value of an item has with so many events."""
    import numpy as np

    from jobs.streaming.fast_path import pack_states
    from jobs.streaming.window_state import TEXT_PER_ENTRY, empty

    [(_, value)] = pack_states(view, [""], empty(view, 1), np.ones(1, bool), as_of=0)
    return len(value) + TEXT_PER_ENTRY * events
