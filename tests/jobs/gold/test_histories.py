"""Whatever happens between refreshes, gold brought forward by increments is gold computed in full.

Many random histories run at once, in the same tables: every id begins with the number of its history. HISTORIES,
HISTORY_REFRESHES and HISTORY_ROUNDS make it longer, HISTORY_SEED repeats a run.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from delta.tables import DeltaTable
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold import refresh
from jobs.gold.compute import aggregate, differing_keys
from tailrace.definitions import BatchView, Count, Definitions, Distinct, First, Last, NewestIs, Sum
from tailrace.lake import commit
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas.slots import GRID
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tests import feeds

HISTORIES = int(os.environ.get("HISTORIES", "300"))
ROUNDS = int(os.environ.get("HISTORY_ROUNDS", "1"))
START = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
STEPS = [GRID, GRID, GRID, 2 * GRID, 5 * GRID, timedelta(hours=23), timedelta(days=8)]

REFRESHES = int(os.environ.get("HISTORY_REFRESHES", "4"))  # a step costs the same for many histories as for few
TICK = timedelta(microseconds=1)
LENGTHS = [timedelta(0), timedelta(minutes=15), timedelta(hours=1), timedelta(days=1), timedelta(days=7)]
Row = dict[str, Any]


@dataclass(frozen=True)
class Act:
    """One thing that befalls silver: an event, or an earlier one (`of`, counted from the last) told again or erased."""

    kind: str
    event: Row
    age: timedelta
    of: int


def ages() -> st.SearchStrategy[timedelta]:
    """How long before the refresh something happened: around the edges of windows, now or within a few slots; or later."""
    edge = st.sampled_from(LENGTHS)
    slots = st.integers(-3, 3)
    return st.builds(lambda length, n, ticks: length - n * GRID + ticks * TICK, edge, slots, st.integers(-1, 1))


def acts() -> st.SearchStrategy[Act]:
    event = st.fixed_dictionaries(
        {
            "event_type": st.sampled_from(["view", "edit", "delete"]),
            "actor_id": st.sampled_from(["u", "v"]),
            "document_id": st.sampled_from(["x", "y"]),
            "attributes": st.sampled_from(['{"dwell": 0.1}', '{"dwell": 0.7000001}', '{"dwell": -1e17}', "{}"]),
        }
    )
    kind = st.sampled_from(["new", "new", "new", "again", "retimed", "corrected", "erased"])
    return st.builds(Act, kind=kind, event=event, age=ages(), of=st.integers(0, 4))


def histories_of(number: int, *, seeded: int) -> list[list[list[Act]]]:
    """So many histories, each a list of acts before each of `REFRESHES` refreshes."""
    found: list[list[list[Act]]] = []
    per_refresh = st.lists(acts(), max_size=3)

    @seed(seeded)
    @settings(
        max_examples=number,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(per_refresh, min_size=REFRESHES, max_size=REFRESHES))
    def collect(history: list[list[Act]]) -> None:
        found.append(history)

    collect()
    return found


class Silver:
    """The interactions of one history as silver holds them; every id begins with the number of the history."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.held: dict[str, Row] = {}
        self.ever = 0

    def take(self, act: Act, as_of: datetime) -> tuple[str, Row | None] | None:
        """What an act does: an event id with its new row, or with None where it goes; nothing where there is none."""
        if act.kind == "new":
            self.ever += 1
            row = {"event_id": f"{self.number}:e{self.ever}", "occurred_at": as_of - act.age, **self.own(act.event)}
        else:
            if not self.held:
                return None
            ids = list(self.held)
            event_id = ids[-1 - act.of % len(ids)]
            row = dict(self.held[event_id])
            if act.kind == "erased":
                del self.held[event_id]
                return event_id, None
            if act.kind == "retimed":
                row["occurred_at"] = as_of - act.age
            if act.kind == "corrected":
                row |= self.own(act.event)
        self.held[row["event_id"]] = row
        return row["event_id"], row

    def own(self, event: Row) -> Row:
        return {key: f"{self.number}:{value}" if key.endswith("_id") else value for key, value in event.items()}


WINDOWS = ("15m", "1h", "24h", "7d", "total")


def view(name, entities, *lines):
    freshness = timedelta(hours=1)
    return BatchView(
        name=name, entities=entities, owner="tests", description="", freshness=freshness, aggregations=lines
    )


PAIRS = view("pairs", (ACTOR, DOCUMENT), Count(name="events", over=WINDOWS), Last(name="last"))
DOCUMENTS = view(
    "documents",
    (DOCUMENT,),
    Count(name="edits", types=("edit",), over=("15m", "7d")),
    Sum(name="dwell", of="dwell", over=("1h", "total")),
    Sum(name="viewed", of="dwell", types=("view",), over=("24h",)),
    Distinct(name="actors", rows_of="pairs", active="events", over=("1h", "7d", "total")),
    First(name="first"),
    First(name="first_edit", types=("edit",)),
    Last(name="last_edit", types=("edit",)),
    NewestIs(name="is_deleted", type="delete"),
)
ACTORS = view(
    "actors",
    (ACTOR,),
    Count(name="events", over=("1h", "24h")),
    Distinct(name="documents", rows_of="pairs", active="events", over=("24h",)),
)
DEFINITIONS = Definitions(views={one.name: one for one in (PAIRS, ACTORS, DOCUMENTS)}, on_demand={}, services={})


DELIVERY: dict[str, Any] = dict.fromkeys(feeds.INTERACTIONS.columns)
DELIVERY |= {"source": "tests", "delivered_at": START, "file": "f", "line": 1, "batch": 1}


class Killed(BaseException):
    """A run that is over at once, as if the process were gone."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, *, commits: int, before: bool) -> Iterator[None]:
    """Be killed at the first commit after so many, just before or just after it."""
    left = [commits]

    def mortal(write: Callable[..., None]) -> Callable[..., None]:
        def write_or_die(*args: Any, **options: Any) -> None:
            left[0] -= 1
            if left[0] < 0 and before:
                raise Killed
            write(*args, **options)
            if left[0] < 0:
                raise Killed

        return write_or_die

    with monkeypatch.context() as patch, suppress(Killed):
        for name in ("change", "keep", "become"):
            patch.setattr(commit, name, mortal(getattr(commit, name)))
        yield


def change_silver(lake: Lake, changes: dict[str, dict[str, Any] | None]) -> None:
    """Write rows and remove those that are None, in one commit."""
    rows = []
    for event_id, row in changes.items():
        values = DELIVERY | {"event_id": event_id} | (row or {})
        rows.append((row is None, *values.values()))
    ddl = feeds.INTERACTIONS.ddl.replace(" NOT NULL", "")
    new = small_frame(lake.spark, rows, f"erased boolean, {ddl}")
    table = DeltaTable.forPath(lake.spark, lake.path(feeds.INTERACTIONS)).alias("old")
    own: dict[str, str | Column] = {name: f"new.{name}" for name in feeds.INTERACTIONS.columns}
    merge = table.merge(F.broadcast(new.alias("new")), "old.event_id = new.event_id").whenMatchedDelete("new.erased")
    merge.whenMatchedUpdate(set=own).whenNotMatchedInsert("NOT new.erased", values=own).execute()


def differing(lake: Lake, as_of: datetime) -> list[tuple[Any, ...]]:
    """Every key of every view whose row is not that of the full computation over silver as it is."""
    interactions = lake.read(feeds.INTERACTIONS)
    computed: dict[str, DataFrame] = {}
    for name, one in DEFINITIONS.batch_views.items():
        computed[name] = aggregate(interactions, one, as_of=as_of, base_rows=computed)
    found = [
        differing_keys(lake.read(one.table), computed[name], one.table).select(
            F.lit(name), F.to_json(F.struct(*one.keys))
        )
        for name, one in DEFINITIONS.batch_views.items()
    ]
    return [tuple(row) for row in reduce(DataFrame.union, found).collect()]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_increments_give_what_the_full_computation_gives_on_any_history(lake, monkeypatch, round_):
    seeded = int(os.environ.get("HISTORY_SEED", random.randrange(10**6)))
    choose = random.Random(seeded)
    histories = histories_of(HISTORIES, seeded=seeded)
    silvers = [Silver(number) for number in range(len(histories))]
    for table in feeds.DEFINITIONS.silver_tables.values():
        lake.create(table)
    as_of = START
    hows = set()
    for step in range(REFRESHES):
        as_of += choose.choice(STEPS)
        taken = [own.take(act, as_of) for own, acts in zip(silvers, histories, strict=True) for act in acts[step]]
        change_silver(lake, dict(one for one in taken if one))
        if choose.random() < 0.3:
            with dying(monkeypatch, commits=choose.randrange(3), before=choose.random() < 0.5):
                refresh.run(lake, DEFINITIONS, as_of=as_of)
            if choose.random() < 0.5:
                as_of += GRID

        done = refresh.run(lake, DEFINITIONS, as_of=as_of)
        hows |= {one.how for one in done.values() if step}

        wrong = differing(lake, as_of)
        assert not wrong, f"HISTORY_SEED={seeded}, refresh {step}: {wrong[:5]} of {len(wrong)}"
    assert hows - {refresh.UNCHANGED} == {refresh.INCREMENTAL}
    assert len(histories) == HISTORIES
