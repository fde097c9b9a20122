"""A view of aggregations brought forward by what changed: from signed rows and their increments."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial, reduce
from operator import and_, or_
from threading import Lock
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold.compute import by_key, countable, is_within
from tailrace.definitions import BatchView, Window
from tailrace.definitions.aggregations.gold_column import Upkeep
from tailrace.definitions.aggregations.sql import GAINED, LOST, SIGN, weight, within
from tailrace.definitions.batch_view import INTERACTIONS
from tailrace.definitions.derived_source import Events
from tailrace.lake import commit
from tailrace.lake.commit import Change
from tailrace.lake.delta_log import BEFORE_IMAGES, Pin
from tailrace.lake.session import ROWS, Materialized, materialized, to_join
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table

ALL_TIME = Window("total", None)

SETTLED_KEYS = "settled_keys"  # counted: keys of which something is computed from the events that survive


def facts_of(views: Iterable[BatchView]) -> tuple[str, ...]:
    """The columns of a source that views of it are computed from, in its order; a correction of another changes nothing."""
    named = set[str]()
    columns: tuple[str, ...] = ()
    for view in views:
        words = view.event_source.words
        columns = tuple(name for name, _ in words.fields)
        named |= {*words.id, words.time, *(entity.column for entity in view.entities)}
        named |= {name for name in (words.type, words.attributes) if name}
        texts = [
            view.where or "",
            *(line.where or "" for line in view.aggregations),
            *(one.full for one in view.gold_columns),
            *(one.increment for one in view.gold_columns),
        ]
        named |= {name for name in columns if any(name in text for text in texts)}
    return tuple(name for name in columns if name in named)


def signed_events(
    events: DataFrame,
    changes: DataFrame | None,
    *,
    facts: Sequence[str],
    time: str,
    windows: Iterable[Window],
    since: datetime,
    until: datetime,
) -> DataFrame:
    """Weigh the events of a silver table and its change feed between two refreshes.

    No `changes` means that silver is as it was. Columns: `facts`; per window, by `weight`, what the row adds to a
    count over it; and `gained`: +1 for an event that gold had not counted at all and now does, -1 for one that is
    lost to it, 0 for one that only crossed a window's edge.
    """
    crossed = events.where(crossed_an_edge(windows, since, until, time=time))
    edges = crossed.select(*facts, F.lit(1).alias("now"), F.lit(-1).alias("then"))
    signed = edges if changes is None else edges.unionByName(net_changes(changes, since, facts=facts, time=time))
    # Times stand in no other expression of a refresh: the code that Spark generates and the JVM compiles for the views
    # is then the same in each refresh.
    weigh = partial(weight_in, since=since, until=until, time=time)
    weights = [weigh(window).alias(weight(window)) for window in sorted(windows, key=str)]
    return signed.select(*facts, *weights, weigh(ALL_TIME).alias(GAINED))


def crossed_an_edge(windows: Iterable[Window], since: datetime, until: datetime, *, time: str) -> Column:
    """Whether a row left a window, or happened, after `since` and up to `until`."""
    lengths = sorted({window.length for window in windows if window.length is not None})
    edges = [(since, until), *((since - length, until - length) for length in lengths)]
    return reduce(or_, (is_between(after, up_to, time=time) for after, up_to in edges))


def is_between(after: datetime, up_to: datetime, *, time: str) -> Column:
    """Whether an event happened after one time and up to another."""
    return (F.col(time) > F.lit(after)) & (F.col(time) <= F.lit(up_to))


def net_changes(changes: DataFrame, since: datetime, *, facts: Sequence[str], time: str) -> DataFrame:
    """What came and went among the events that counted at `since`; a re-delivery that says the same is neither."""
    sign = F.when(is_before_image(), -1).otherwise(1)
    counted = changes.where(F.col(time) <= F.lit(since))
    net = counted.groupBy(*facts).agg(F.sum(sign).cast("int").alias("then")).where("then <> 0")
    return net.select(*facts, F.lit(0).alias("now"), "then")


def is_before_image() -> Column:
    """Whether a row of a change feed is as the table had it before."""
    return F.col("_change_type").isin(*BEFORE_IMAGES)


def weight_in(window: Window, *, since: datetime, until: datetime, time: str) -> Column:
    """What a signed event adds to a count over a window."""
    now, then = (
        F.when(counts_at(window, at, time=time), F.col(w)).otherwise(0) for at, w in ((until, "now"), (since, "then"))
    )
    return now + then


def counts_at(window: Window, as_of: datetime, *, time: str) -> Column:
    """Whether an event is in a window at a time."""
    happened = F.col(time) <= F.lit(as_of)
    return happened if window.length is None else happened & (F.col(time) > F.lit(as_of - window.length))


def increments(signed: DataFrame, view: BatchView, *, base_changes: Mapping[str, DataFrame | None]) -> DataFrame:
    """Gather a view's columns from signed events; keys, the columns that gather anything, and `LOST`.

    `base_changes` has the change feed of each view that this one counts rows of, None where nothing changed there.
    """
    rows = countable(signed, view)
    columns = {entity.key: entity.column for entity in view.entities}
    for name, changes in base_changes.items():
        lines = [line for line in view.aggregations if line.base_view == name]
        of_rows = {column.name: column.change for line in lines for column in view.columns_of(line) if column.change}
        if changes is None:
            rows = rows.withColumns(dict.fromkeys(of_rows, F.lit(0)))
        else:
            sign = F.when(is_before_image(), -1).otherwise(1)
            keys = [F.col(key).alias(column) for key, column in columns.items()]
            changed = changes.withColumn(SIGN, sign).select(*keys, *named(of_rows))
            rows = rows.unionByName(changed, allowMissingColumns=True)
    gathered = named({column.name: column.increment for column in view.gold_columns if column.increment})
    gathered += named({extreme.leaves: extreme.leaving for extreme in view.extremes})
    lost = F.coalesce(F.max(F.col(GAINED) < 0), F.lit(False)).alias(LOST)
    folded = rows.groupBy(*by_key(view)).agg(*gathered, lost)
    added = [column.name for column in view.gold_columns if column.upkeep is Upkeep.ADDED]
    moved = [column.name for column in view.gold_columns if column.extreme] + [one.leaves for one in view.extremes]
    says_something = [*(F.col(name) != 0 for name in added), *(F.col(name).isNotNull() for name in moved)]
    return folded.where(reduce(or_, says_something, F.col(LOST)))


def named(columns: Mapping[str, str]) -> list[Column]:
    """SQL expressions by the names of what they give."""
    return [F.expr(sql).alias(name) for name, sql in columns.items()]


def with_losses(increments_: Materialized, gold: DataFrame, view: BatchView) -> DataFrame:
    """Increments with whether each extreme is lost: where what leaves is as good as the best of gold's and what comes."""
    found = increments_.frame
    keys = to_join(found.select(*view.keys), rows=increments_.counts[ROWS])
    of_keys = gold.join(keys, on=list(view.keys), how="left_semi")
    renamed = {key: f"_old_{key}" for key in view.keys}
    old = to_join(of_keys.withColumnsRenamed(renamed), rows=increments_.counts[ROWS]).alias("old")  # unique per key
    same = reduce(and_, (F.col(f"new.{key}") == F.col(f"old.{name}") for key, name in renamed.items()))
    losses = {one.is_lost: f"new.{one.leaves} IS NOT NULL AND {one.as_good}" for one in view.extremes}
    return found.alias("new").join(old, on=same, how="left").select("new.*", *named(losses))


def losses_of(view: BatchView) -> dict[str, str]:
    """By each column that is settled, the column of the increments that says whether it is to be."""
    settled = (column for column in view.gold_columns if column.upkeep is Upkeep.SETTLED)
    return {column.name: column.extreme.is_lost if column.extreme else LOST for column in settled}


def settled_totals(view: BatchView) -> dict[str, Column]:
    """How many keys are to be settled, and how many for each reason."""
    reasons = dict.fromkeys(losses_of(view).values())
    totals = {reason: F.col(reason).cast("int") for reason in reasons}
    return totals | {SETTLED_KEYS: reduce(or_, map(F.col, reasons), F.lit(False)).cast("int")}


def since_when(view: BatchView, counts: Mapping[str, int], *, as_of: datetime) -> datetime | None:
    """After which time the events happened that decide what is to be settled; None for all of them."""
    lost = [one.window.length for one in view.extremes if counts[one.is_lost]]
    if counts.get(LOST) or None in lost:
        return None
    return as_of - max((length for length in lost if length is not None), default=timedelta(0))


def settle(increments_: Materialized, events: DataFrame, view: BatchView, *, as_of: datetime) -> DataFrame:
    """Compute what is to be settled of the keys that lost it, by `losses_of`, from the events that survive."""
    found, losses = increments_.frame, losses_of(view)
    columns = {column.name: column.full for column in view.gold_columns if column.upkeep is Upkeep.SETTLED}
    is_lost = reduce(or_, map(F.col, dict.fromkeys(losses.values())))
    lost = to_join(found.where(is_lost).select(*view.keys), rows=increments_.counts[SETTLED_KEYS])
    time, since = view.event_source.words.time, since_when(view, increments_.counts, as_of=as_of)
    deciding = F.col(time) <= F.lit(as_of)
    if since is not None:
        deciding &= F.col(time) > F.lit(since)
    happened = countable(events.where(deciding), view)
    happened = happened.withColumns(
        {within(one.window): is_within(one.window, as_of, time=time) for one in view.extremes}
    )
    of_source = {entity.key: entity.column for entity in view.entities}
    lost = lost.select(*(F.col(key).alias(column) for key, column in of_source.items()))
    survivors = happened.join(lost, on=[*of_source.values()], how="left_semi")
    values = survivors.groupBy(*by_key(view)).agg(*named(columns))
    renamed = values.select(*view.keys, *(F.col(name).alias(f"_survivor_{name}") for name in columns))
    joined = found.join(renamed, on=list(view.keys), how="left")  # unique per key on both sides
    replaced = {
        name: F.when(F.col(loss), F.col(f"_survivor_{name}")).otherwise(F.col(name)) for name, loss in losses.items()
    }
    return joined.withColumns(replaced).select(*found.columns)


@dataclass(frozen=True, kw_only=True)
class Step:
    """From what gold was computed from to what it shall be computed from."""

    since: datetime
    until: datetime
    before: Mapping[str, Pin]
    after: Mapping[str, Pin]


@dataclass(frozen=True)
class SignedRows:
    """The signed events of one refresh, gathered once for all views of a source that stand at the same point."""

    lake: Lake
    views: tuple[BatchView, ...]
    gathered: dict[tuple[str, datetime, Pin], DataFrame] = field(default_factory=dict)
    gathering: Lock = field(default_factory=Lock)
    until_released: ExitStack = field(default_factory=ExitStack)

    def of(self, source: Events, step: Step) -> DataFrame:
        """The signed events of a source in one step; gathered once."""
        with self.gathering:
            return self._of(source, step)

    def _of(self, source: Events, step: Step) -> DataFrame:
        table = source.silver_table
        before, after = step.before[table.full_name], step.after[table.full_name]
        place = (source.name, step.since, before)
        if place not in self.gathered:
            views = [view for view in self.views if view.aggregations and view.event_source == source]
            rows = signed_events(
                self.lake.read(table, version=after.version),
                self.lake.changes_since(table, since=before, until=after),
                facts=facts_of(views),
                time=source.words.time,
                windows=frozenset(window for view in views for line in view.aggregations for window in line.windows),
                since=step.since,
                until=step.until,
            )
            self.gathered[place] = self.until_released.enter_context(materialized(rows)).frame
        return self.gathered[place]

    def release(self) -> None:
        """Give up what was gathered."""
        self.until_released.close()


def add_changes(
    lake: Lake,
    view: BatchView,
    signed: SignedRows,
    step: Step,
    *,
    base_tables: Mapping[str, Table],
    state: dict[str, Any],
) -> int:
    """Add to a view's gold table what one step changes; returns how many keys were settled.

    Raises `HistoryLost` where a change feed does not reach from one end of the step to the other.
    """
    feeds = {
        name: lake.changes_since(table, since=step.before[table.full_name], until=step.after[table.full_name])
        for name, table in base_tables.items()
    }
    gathered = increments(signed.of(view.event_source, step), view, base_changes=feeds)
    with ExitStack() as until_committed:
        totals = {} if view.extremes else settled_totals(view)
        found = until_committed.enter_context(materialized(gathered, totals=totals))
        if view.extremes and found.counts[ROWS]:
            gold = lake.read(view.table, version=state["started_from"])
            compared = with_losses(found, gold, view)
            found = until_committed.enter_context(materialized(compared, totals=settled_totals(view)))
        rows = found.frame
        if found.counts.get(SETTLED_KEYS):
            table = view.event_source.silver_table
            events = lake.read(table, version=step.after[table.full_name].version)
            rows = settle(found, events, view, as_of=step.until)
        if found.counts[ROWS]:
            rows = to_join(rows, rows=found.counts[ROWS])
            commit.change(lake, view.table, change_by(rows, view), state=state)
        else:
            commit.keep(lake, view.table, state=state)
    return found.counts.get(SETTLED_KEYS, 0)


def change_by(increments_: DataFrame, view: BatchView) -> Change:
    """What the increments of some keys do to a view's gold table."""
    columns = view.gold_columns
    differs = [  # what follows from other columns differs where these do
        f"new.{column.name} <> 0" if column.upkeep is Upkeep.ADDED else f"NOT (old.{column.name} <=> {column.merged})"
        for column in columns
        if column.upkeep is not Upkeep.FOLLOWS
    ]
    count = INTERACTIONS.name
    return Change(
        rows=increments_,
        update={column.name: column.merged for column in columns},
        insert={key: f"new.{key}" for key in view.keys} | {column.name: column.inserted for column in columns},
        differs=" OR ".join(differs),
        gone=f"old.{count} + new.{count} = 0",
        exists=f"new.{count} > 0",
    )
