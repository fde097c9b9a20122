"""Generated definitions on random histories: gold brought forward by increments is gold computed in full.

Sources with ids of several kinds, keys of each type, conditions and windows. All histories run at once in the same tables,
as every key has the number of its history in it. GENERATED_SETS, GENERATED_HISTORIES and HISTORY_REFRESHES make it longer,
HISTORY_SEED repeats a run.
"""

import os
import random
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import reduce
from itertools import count
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold import refresh
from jobs.gold.compute import aggregate, differing_keys
from tailrace.definitions import (
    BOOL,
    DATE,
    FLOAT64,
    INT64,
    STRING,
    BatchView,
    Count,
    Definitions,
    Distinct,
    Entity,
    EventSource,
    Field,
    First,
    Last,
    NewestIs,
    Sum,
    Time,
)
from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import GRID
from tests.jobs.gold.test_histories import START, STEPS, dying

SETS = int(os.environ.get("GENERATED_SETS", "3"))
HISTORIES = int(os.environ.get("GENERATED_HISTORIES", "40"))
REFRESHES = int(os.environ.get("HISTORY_REFRESHES", "4"))
SETS_OF_A_SOURCE = 2
WINDOWS = ("15m", "1h", "24h", "7d", "total")
LENGTHS = [timedelta(0), timedelta(minutes=15), timedelta(hours=1), timedelta(days=1), timedelta(days=7)]
WHERES = (None, "flag", "amount > 0", "flag IS NULL OR amount >= 0", "NOT flag AND kind = 'buy'")
Row = dict[str, Any]


def drawn_source(choose: random.Random, number: int) -> EventSource:
    """A source with one id, several, or none, and a second key of any type."""
    typed = choose.choice((INT64, DATE))
    return EventSource(
        name=f"source{number}",
        id=choose.choice(("event", ("event", "part"), None)),
        time=Time("at"),
        type=choose.choice(("kind", "kind", None)),
        fields=(
            Field("who", STRING),
            Field("what", typed),
            Field("kind", STRING, required=True),
            Field("flag", BOOL),
            Field("amount", choose.choice((INT64, FLOAT64))),
            Field("noise", STRING),
        ),
    )


def drawn_views(choose: random.Random, source: EventSource, number: int) -> list[BatchView]:
    """Views of pairs, and of one of their keys, which counts rows of the other."""
    what = Entity(f"what{number}", "what_id", type=typed_as(source, "what")).as_("what")
    who = Entity(f"who{number}", "who")
    types = ("buy",) if source.type and choose.random() < 0.5 else ()
    windows = tuple(choose.sample(WINDOWS, choose.randint(1, 3)))
    common: dict[str, Any] = {"source": source, "where": choose.choice(WHERES), "owner": "tests", "description": ""}
    common |= {"freshness": timedelta(hours=1)}
    of_pairs = (
        Count(name="events", types=types, over=windows),
        Sum(name="amount", of="amount", types=types, over=windows),
        Last(name="last", types=types),
    )
    pairs = BatchView(name=f"pairs{number}", entities=(who, what), aggregations=of_pairs, **common)
    lines: list[Aggregation] = [
        Distinct(name="partners", rows_of=pairs.name, active="events", over=windows),
        First(name="first"),
    ]
    if source.type and source.id == "event":
        lines.append(NewestIs(name="is_bought", type="buy"))
    one = choose.choice((who, what))
    return [pairs, BatchView(name=f"single{number}", entities=(one,), aggregations=tuple(lines), **common)]


def typed_as(source: EventSource, name: str) -> Any:
    return next(one.type for one in source.fields if one.name == name)


@dataclass
class History:
    """The events of one history in one source, by number; `names` gives new ones."""

    number: int
    source: EventSource
    events: dict[int, Row] = field(default_factory=dict)
    names: Any = field(default_factory=count)

    def changes(self, choose: random.Random, as_of: datetime) -> dict[int, Row | None]:
        """What comes, is corrected, moves or goes before a refresh; None for what goes."""
        found: dict[int, Row | None] = {}
        for _ in range(choose.randint(0, 3)):
            kind = choose.choice(("new", "new", "new", "again", "corrected", "moved", "erased"))
            name = next(self.names) if kind == "new" or not self.events else choose.choice([*self.events])
            drawn = self.drawn(choose, as_of)
            if kind == "erased" and name in self.events:
                del self.events[name]
                found[name] = None
                continue
            known = self.events.get(name, drawn)
            changed = {"corrected": ("kind", "flag", "amount", "noise"), "moved": ("who", "what", "at")}.get(kind, ())
            self.events[name] = known | {column: drawn[column] for column in changed}
            found[name] = self.events[name]
        return found

    def drawn(self, choose: random.Random, as_of: datetime) -> Row:
        at = choose.choice(LENGTHS) - choose.randint(-3, 3) * GRID + choose.randint(-1, 1) * timedelta(microseconds=1)
        number, amount = choose.choice((0, 1)) + 3 * self.number, choose.choice((None, -3, 0, 2))
        is_date = typed_as(self.source, "what") is DATE
        what = choose.choice((None, date(2000, 1, 1) + timedelta(days=number) if is_date else number))
        return {
            "at": as_of - at,
            "who": choose.choice((None, f"{self.number}:u", f"{self.number}:v")),
            "what": what,
            "kind": choose.choice(("buy", "view")),
            "flag": choose.choice((None, True, False)),
            "amount": float(amount) / 4
            if amount is not None and typed_as(self.source, "amount") is FLOAT64
            else amount,
            "noise": choose.choice((None, "x")),
        }


def change_silver(lake: Lake, source: EventSource, changes: dict[tuple[int, int], Row | None]) -> None:
    """Write rows and remove those that are None, in one commit, as silver's merge would."""
    table = source.silver_table
    ids = {name: number for number, name in enumerate(source.key_columns)}
    delivery = {"delivered_at": START, "file": "f", "line": 1, "batch": 1}
    rows = []
    for (history, event), row in changes.items():
        own = {name: f"{history}:{event}" if not number else "p" for name, number in ids.items()}
        values = dict.fromkeys(table.columns) | delivery | (row or {}) | own
        rows.append((row is None, *(values[name] for name in table.columns)))
    new = small_frame(lake.spark, rows, f"erased boolean, {table.ddl.replace(' NOT NULL', '')}")
    same = " AND ".join(f"old.{name} = new.{name}" for name in ids)
    own_columns: dict[str, str | Column] = {name: f"new.{name}" for name in table.columns}
    merge = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old").merge(F.broadcast(new.alias("new")), same)
    merge = merge.whenMatchedDelete("new.erased").whenMatchedUpdate(set=own_columns)
    merge.whenNotMatchedInsert("NOT new.erased", values=own_columns).execute()


def differing(lake: Lake, definitions: Definitions, as_of: datetime) -> list[tuple[Any, ...]]:
    """Every key of every view whose row is not that of the full computation over silver as it is."""
    computed: dict[str, DataFrame] = {}
    found = []
    for name, view in definitions.batch_views.items():
        events = lake.read(view.event_source.silver_table)
        computed[name] = aggregate(events, view, as_of=as_of, base_rows=computed)
        keys = differing_keys(lake.read(view.table), computed[name], view.table)
        found.append(keys.select(F.lit(name), F.to_json(F.struct(*view.keys))))
    return [tuple(row) for row in reduce(DataFrame.union, found).collect()]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_increments_come_to_the_full_computation_with_any_definitions(lake, monkeypatch):
    seeded = int(os.environ.get("HISTORY_SEED", random.randrange(10**6)))
    choose = random.Random(seeded)
    sources = [drawn_source(choose, number) for number in range(-(-SETS // SETS_OF_A_SOURCE))]
    views = [one for number in range(SETS) for one in drawn_views(choose, sources[number // SETS_OF_A_SOURCE], number)]
    definitions = Definitions(
        views={one.name: one for one in views}, on_demand={}, services={}, declared=tuple(sources)
    )
    histories = {source.name: [History(number, source) for number in range(HISTORIES)] for source in sources}
    for source in sources:
        lake.create(source.silver_table)
    as_of, hows = START, set()
    for step in range(REFRESHES):
        as_of += choose.choice(STEPS)
        for source in sources:
            drawn = {one.number: one.changes(choose, as_of) for one in histories[source.name]}
            changes = {(number, event): row for number, found in drawn.items() for event, row in found.items()}
            change_silver(lake, source, changes)
        if choose.random() < 0.3:
            with dying(monkeypatch, commits=choose.randrange(3), before=choose.random() < 0.5):
                refresh.run(lake, definitions, as_of=as_of)

        done = refresh.run(lake, definitions, as_of=as_of)
        hows |= {one.how for one in done.values() if step}

        wrong = differing(lake, definitions, as_of)
        assert not wrong, f"HISTORY_SEED={seeded}, refresh {step}: {wrong[:5]} of {len(wrong)}"
    assert hows - {refresh.UNCHANGED} == {refresh.INCREMENTAL}
    assert all(lake.read(view.table).count() for view in views)
