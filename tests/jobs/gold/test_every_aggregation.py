"""Every aggregation over one source, brought forward on random histories, next to plain Python over the same events.

All keys are one view's rows in one lake: a refresh of many histories costs as much as that of one. HISTORY_SEED
repeats a run.
"""

import os
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import singledispatch
from itertools import count
from math import isfinite, sqrt
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import functions as F

from jobs.gold import refresh
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
    Window,
)
from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake

Row = Mapping[str, Any]
NOTHING = (None, None)
START = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
GRID = timedelta(minutes=15)
STEPS = (GRID, GRID, 4 * GRID, timedelta(days=1))
KEYS, REFRESHES = 60, 3
# Among them what counts in some aggregations only, and pairs whose variance is 0.25 near 10^9.
AMOUNTS = (
    None,
    -3.25,
    0.0,
    -0.0,
    2.5,
    1e9,
    1e9 - 1,
    -1e9,
    1000000000.000001,
    0.1 + 0.2,
    1e-7,
    5e17,
    1e18,
    float("nan"),
)
OVER = ("1h", "total")
EVENTS = EventSource(
    name="clicks",
    id="event",
    time=Time("at"),
    type="kind",
    fields=(
        Field("who", STRING),
        Field("kind", STRING, required=True),
        Field("flag", BOOL),
        Field("amount", FLOAT64),
        Field("noise", STRING),
    ),
)
CONDITIONS: Mapping[str | None, Callable[[Row], bool]] = {
    None: lambda _: True,
    "flag -- and nothing else": lambda row: row["flag"] is True,
    # Which cannot be worked out of 0: such an event does not meet it.
    "flag IS NULL OR 1 / amount < 0": lambda row: (
        row["flag"] is None or (row["amount"] is not None and row["amount"] < 0)
    ),
}
[_, FLAGGED, ODD] = CONDITIONS
VIEW = BatchView(
    name="every_aggregation",
    entities=(Entity("person", "who"),),
    owner="tests",
    description="",
    freshness=timedelta(hours=1),
    source=EVENTS,
    aggregations=(
        Count(name="flagged", where=FLAGGED, over=OVER),
        Count(name="odd_buys", types=("buy",), where=ODD, over=("24h",)),
        Sum(name="spent", of="amount", where=FLAGGED, over=("1h",)),
        Mean(name="mean", of="amount", where=FLAGGED, over=OVER),
        Variance(name="variance", of="amount", types=("buy",), over=OVER),
        StdDev(name="deviation", of="amount", where=FLAGGED, over=("24h",)),
        Max(name="largest", of="amount", over=OVER),
        Min(name="smallest", of="amount", where=FLAGGED, over=("24h",)),
        First(name="first_buy", types=("buy",), over=("1h",)),
        Last(name="last_view", types=("view",), over=("2h",)),  # nothing else has this window
        LastValue(name="last_amount", of="amount", over=OVER),
        FirstValue(name="first_kind", of="kind", where=ODD, over=("24h",)),
        First(name="first_flagged", where=FLAGGED),
        Last(name="last_odd", where=ODD),
        NewestIs(name="is_bought", type="buy", where=ODD),
    ),
)


def counting(line: Any, rows: list[Row]) -> list[Row]:
    """The events that a line counts, of all time."""
    types = getattr(line, "types", ())
    return [row for row in rows if CONDITIONS[line.where](row) and (not types or row["kind"] in types)]


def by_window(line: Any, rows: list[Row], as_of: datetime, figure: Callable[[list[Row]], Any]) -> dict[str, Any]:
    """A figure of the events in each window."""
    return {
        f"{line.name}_{window.name}": figure([row for row in counting(line, rows) if is_within(row, window, as_of)])
        for window in line.windows
    }


def is_within(row: Row, window: Window, as_of: datetime) -> bool:
    return window.length is None or bool(row["at"] > as_of - window.length)


@singledispatch
def figures_of(line: Aggregation, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    """The features of a line from the events of a key that happened."""
    raise NotImplementedError(type(line).__name__)


@figures_of.register
def counted(line: Count, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    return by_window(line, rows, as_of, len)


@figures_of.register
def summed(line: Sum, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    return by_window(line, rows, as_of, lambda found: float(sum(numbers(found, line.of))))


@figures_of.register
def mean(line: Mean, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    def figure(found: list[Row]) -> float | None:
        values = [Fraction(number) for number in numbers(found, line.of)]
        return float(sum(values) / len(values)) if values else None

    return by_window(line, rows, as_of, figure)


@figures_of.register
def variance(line: Variance, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    return by_window(line, rows, as_of, lambda found: variance_of(numbers(found, line.of)))


@figures_of.register
def deviation(line: StdDev, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    found = variance(line, rows, as_of)
    return {name: None if value is None else sqrt(value) for name, value in found.items()}


def variance_of(drawn: list[Decimal]) -> float | None:
    """The population's variance as the double that is next to it."""
    values = [Fraction(number) for number in drawn if abs(number) <= 10**9]
    mean = sum(values) / len(values) if values else Fraction(0)
    return float(sum((value - mean) ** 2 for value in values) / len(values)) if values else None


@figures_of.register
def largest(line: Max, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    return by_window(line, rows, as_of, lambda found: max(values(found, line.of), default=None))


@figures_of.register
def smallest(line: Min, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    return by_window(line, rows, as_of, lambda found: min(values(found, line.of), default=None))


@figures_of.register
def last_value(line: LastValue, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    return by_window(line, rows, as_of, lambda found: max(timed_values(found, line.of), default=NOTHING)[1])


@figures_of.register
def first_value(line: FirstValue, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    return by_window(line, rows, as_of, lambda found: min(timed_values(found, line.of), default=NOTHING)[1])


def values(rows: list[Row], of: str) -> list[Any]:
    """The values of events that have one that is finite; with one zero."""
    return [value for _, value in timed_values(rows, of)]


def timed_values(rows: list[Row], of: str) -> list[tuple[datetime, Any]]:
    found = ((row["at"], row[of]) for row in rows if row[of] is not None)
    return [
        (at, value + 0.0 if isinstance(value, float) else value)
        for at, value in found
        if not isinstance(value, float) or isfinite(value)
    ]


def times(rows: list[Row]) -> list[datetime]:
    return [row["at"] for row in rows]


@figures_of.register
def first(line: First, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    if line.over:
        return by_window(line, rows, as_of, lambda found: min(times(found), default=None))
    return {line.name: min((row["at"] for row in counting(line, rows)), default=None)}


@figures_of.register
def last(line: Last, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    if line.over:
        return by_window(line, rows, as_of, lambda found: max(times(found), default=None))
    return {line.name: max((row["at"] for row in counting(line, rows)), default=None)}


@figures_of.register
def newest_is(line: NewestIs, rows: list[Row], as_of: datetime) -> dict[str, Any]:
    newest = max(counting(line, rows), key=lambda row: (row["at"], row["event"]), default=None)
    return {line.name: newest and newest["kind"] == line.type}


def numbers(rows: list[Row], of: str) -> list[Decimal]:
    """The numbers of events, to six decimals."""
    found = (Decimal(repr(row[of])) for row in rows if row[of] is not None and isfinite(row[of]))
    return [number.quantize(Decimal("0.000001"), ROUND_HALF_UP) for number in found if number < 10**18]


def expected(events: Mapping[str, Row], as_of: datetime) -> dict[str, dict[str, Any]]:
    """What gold should have, by key."""
    happened = [row for row in events.values() if row["at"] <= as_of and row["who"] is not None]
    of_key = {row["who"]: [one for one in happened if one["who"] == row["who"]] for row in happened}
    return {
        who: {name: value for line in VIEW.aggregations for name, value in figures_of(line, rows, as_of).items()}
        for who, rows in of_key.items()
    }


def drawn(choose: random.Random, who: int, as_of: datetime) -> dict[str, Any]:
    """An event at or next to the edge of a window, or later than the refresh."""
    length = choose.choice((timedelta(0), timedelta(hours=1), timedelta(hours=2), timedelta(days=1), timedelta(days=3)))
    beside = choose.randint(-2, 2) * GRID + choose.randint(-1, 1) * timedelta(microseconds=1)
    return {
        "at": as_of - length + beside,
        "who": choose.choice((None, *[f"k{who}"] * 5)),
        "kind": choose.choice(("buy", "view")),
        "flag": choose.choice((None, True, True, False)),
        "amount": choose.choice(AMOUNTS),
        "noise": choose.choice((None, "x")),
    }


def changes(choose: random.Random, events: dict[str, Row], as_of: datetime, names: Any) -> dict[str, Row | None]:
    """What comes, is corrected in one field, moves or goes before a refresh; None for what goes."""
    found: dict[str, Row | None] = {}
    for who in range(KEYS):
        own = [name for name in events if name.startswith(f"{who}:")]
        for _ in range(choose.randint(0, 2)):
            name, row = f"{who}:{next(names)}", drawn(choose, who, as_of)
            if own and choose.random() < 0.5:
                name = choose.choice(own)
                field = choose.choice(("at", "who", "kind", "flag", "amount", "noise"))
                row = dict(found.get(name) or events[name]) | {field: row[field]}
            found[name] = row | {"event": name}
        if own and choose.random() < 0.2:
            found[choose.choice(own)] = None
    return found


def change_silver(lake: Lake, found: Mapping[str, Row | None]) -> None:
    """Write rows and remove those that are None, in one commit."""
    table = EVENTS.silver_table
    delivery = {"delivered_at": START, "file": "f", "line": 1, "batch": 1}
    rows = [
        (row is None, *({**dict.fromkeys(table.columns), **delivery, **(row or {}), "event": name}.values()))
        for name, row in found.items()
    ]
    new = small_frame(lake.spark, rows, f"erased boolean, {table.ddl.replace(' NOT NULL', '')}")
    merge = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old")
    merged = merge.merge(F.broadcast(new.alias("new")), "old.event = new.event").whenMatchedDelete("new.erased")
    own: dict[str, Any] = {name: f"new.{name}" for name in table.columns}
    merged.whenMatchedUpdate(set=own).whenNotMatchedInsert("NOT new.erased", values=own).execute()


def in_gold(lake: Lake) -> dict[str, dict[str, Any]]:
    """What gold has, by key."""
    rows = lake.read(VIEW.table).select("who", *VIEW.feature_names).collect()
    return {
        row.who: {
            name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
            for name, value in row.asDict().items()
            if name != "who"
        }
        for row in rows
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gold_brought_forward_is_what_plain_python_computes_of_the_same_events(lake):
    seed = int(os.environ.get("HISTORY_SEED", random.randrange(10**6)))
    choose, names, as_of = random.Random(seed), count(), START
    definitions = Definitions(views={VIEW.name: VIEW}, on_demand={}, services={}, declared=(EVENTS,))
    events: dict[str, Row] = {}
    lake.create(EVENTS.silver_table)
    for step in range(REFRESHES):
        as_of += choose.choice(STEPS)
        found = changes(choose, events, as_of, names)
        change_silver(lake, found)
        events = {name: row for name, row in (events | found).items() if row is not None}

        done = refresh.run(lake, definitions, as_of=as_of)[VIEW.name]

        assert done.how == (refresh.INCREMENTAL if step else refresh.FULL)
        assert done.uncounted.get("mean", 0) == len(uncounted(events, as_of))
        wrong = differing(in_gold(lake), expected(events, as_of))
        assert not wrong, f"HISTORY_SEED={seed}, refresh {step}: {wrong[:5]} of {len(wrong)}"
    assert events


def uncounted(events: Mapping[str, Row], as_of: datetime) -> list[Row]:
    """The events whose amount is there and does not count in the mean."""
    happened = [row for row in events.values() if row["at"] <= as_of and row["who"] is not None and row["flag"]]
    return [row for row in happened if row["amount"] is not None and not numbers([row], "amount")]


def differing(gold: Mapping[str, Row], computed: Mapping[str, Row]) -> list[str]:
    """Each feature of each key that gold has otherwise, or not at all."""
    nothing: Row = {}
    return [
        f"{who}: {name} is {gold.get(who, nothing).get(name)!r}, computed {computed.get(who, nothing).get(name)!r}"
        for who in {*gold, *computed}
        for name in VIEW.feature_names
        if repr(gold.get(who, nothing).get(name, "nothing")) != repr(computed.get(who, nothing).get(name, "nothing"))
    ]
