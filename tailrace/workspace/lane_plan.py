"""Which lane a view belongs in: from its required freshness, its observed figures, and the cost of a write."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tailrace.definitions import BATCH, DIRECT, STREAM, FeatureView

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
    wanted = f"values are to be at most {told(view.freshness)} old"
    if view.written_features:
        return DIRECT, ["its values come from outside: whoever has them writes them"]
    if view.freshness >= batch_age:
        reason = f"{wanted}, and a refresh has them at most {told(batch_age)} old"
        return BATCH, [reason if view.lane == BATCH else f"{reason}, with fewer writes than one for each event"]
    if view.transform is not None:
        reason = (
            f"{wanted}, and a refresh has them up to {told(batch_age)} old; a transform reads whole tables, which no "
        )
        reason += "other lane does: refresh more often, ask for less, or have the values written directly"
        return BATCH, [reason]
    return STREAM, [f"{wanted}, and a refresh has them up to {told(batch_age)} old; a stream has them in seconds"]


def batch_writes(seen: Observed, terms: Terms) -> float | None:
    """Values that refreshes write in a day."""
    return None if seen.writes_per_run is None else seen.writes_per_run * (DAY / terms.interval)


def cost(writes_per_day: float | None, seen: Observed, terms: Terms) -> float | None:
    """Dollars a month for values alone: a write is charged by its whole item, so this is a lower bound."""
    if writes_per_day is None:
        return None
    units = math.ceil((seen.value_bytes or 1) / UNIT_BYTES)
    return round(writes_per_day * DAYS_PER_MONTH * units * terms.price / 1e6, 4)


def told(length: timedelta) -> str:
    seconds = length.total_seconds()
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"
