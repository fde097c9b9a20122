"""What the stream should have made of the events in bronze: states at one time, or at every time that one changed.

The code is that of the stream. A micro-batch is here all that came of a key at one moment, and states come from nothing
in place of the store.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.bronze.set_aside import left_in
from jobs.bronze.topic import PREFIX
from jobs.streaming.event_rows import EventRows, counts_somewhere, events_of, is_ahead, key_names, keyed, storable
from jobs.streaming.fast_path import AMOUNTS, changes_of_rows, pack_states, whole
from jobs.streaming.window_state import Array, State, empty, fold_changes, horizon_of, take_pairs
from tailrace.definitions import StreamView
from tailrace.definitions.stream_view import MICROS_PER_MINUTE
from tailrace.lake.tables import Lake
from tailrace.schemas.landing import Feed

EVENTS_PER_TASK = 200_000
MOST_TASKS = 1_000
STATES = "view string, item_key string, moment bigint, value binary"
# States of pairs, whose values are given, and changes of rollups, whose are not.
FOLDED = f"{STATES}, line bigint, minute bigint, amount bigint"
SCHEMA = pa.schema(
    [
        ("view", pa.string()),
        ("item_key", pa.string()),
        ("moment", pa.int64()),
        ("value", pa.binary()),
        *((name, pa.int64()) for name in AMOUNTS),
    ]
)
STATES_SCHEMA = pa.schema(list(SCHEMA)[:4])

# What becomes of states before they are packed.
Finish = Callable[[StreamView, State], State]


def streamed_events(lake: Lake, of: EventRows, *, kafka: bool) -> DataFrame:
    """The events in bronze that the stream's source had, as rows with `appended`, `place`, `file` and `line`.

    That is all of Kafka, a topic of before among it, or the landed files where the stream follows these; without files
    that are excluded.
    """
    of_kafka = F.col("file").startswith(PREFIX)
    appended = F.unix_micros("delivered_at").alias("appended")
    place = F.format_string("%s %020d", "file", "line").alias("place")
    left = left_in(lake, lake.read(of.feed.table), feed=of.feed.name).where(of_kafka if kafka else ~of_kafka)
    rows = left.select(*of.columns(), appended, place, "file", "line")
    return rows.where(~is_ahead(F.col("at"), F.col("appended")) & counts_somewhere(rows, of.views))


def had_by(lake: Lake, of: EventRows, *, kafka: bool, until: int) -> DataFrame:
    """Those that it had by a time, in microseconds."""
    return streamed_events(lake, of, kafka=kafka).where(F.col("appended") <= until)


def counting(events: DataFrame, of: EventRows, *, since: int, until: int) -> DataFrame:
    """First deliveries with the `moment` at which each came: what came before `since` is of then, after `until` of that.

    Of what came before, that which no longer counts in any value is excluded.
    """
    first = Window.partitionBy(*of.keys, "id").orderBy("appended", "place")
    moment = F.least(F.greatest(F.lit(since), "appended"), F.lit(until)).alias("moment")
    rows = events.withColumn("delivery", F.row_number().over(first)).where("delivery = 1").select("*", moment)
    before = F.col("moment") == since
    alike = [
        name for name in of.names if name not in {*of.keys, "id", "at"}
    ]  # of one type, and counting in the same views
    last, last_of_kind = (F.max("at").over(Window.partitionBy(*of.keys, before, *by)) for by in ((), alike))
    horizon = horizon_of(of.views[0], of.views[1:]) * MICROS_PER_MINUTE
    counts = ~before | (F.col("at") > last - horizon) | (F.col("at") == last_of_kind)
    return rows.withColumn("counts", counts).where("counts").select(*events.columns, "moment")


def states(events: DataFrame, views: Sequence[StreamView], *, tasks: int, finish: Finish) -> DataFrame:
    """The states of keys by `STATES` at each moment of the events of `counting`; `views` begin with the finest."""
    pairs = events.repartition(tasks, *key_names(views)).mapInArrow(
        partial(recount_pairs, views=views, finish=finish), FOLDED
    )
    by_key = pairs.repartition(tasks, "view", "item_key")
    return by_key.mapInArrow(partial(recount_rollups, views=views[1:], finish=finish), STATES)


def tasks_for(lake: Lake, feed: Feed) -> int:
    rows = lake.read(feed.table).count()
    return min(max(rows // EVENTS_PER_TASK, lake.spark.sparkContext.defaultParallelism), MOST_TASKS)


def recount_pairs(
    parts: Iterable[pa.RecordBatch], views: Sequence[StreamView], finish: Finish
) -> Iterator[pa.RecordBatch]:
    rows = whole(parts)
    if rows is None:
        return
    rows = rows.sort_values(["moment", "appended", "place"], kind="stable", ignore_index=True)
    view, rollups = views[0], views[1:]
    rows, found = storable(rows, [view])
    if rows.empty:
        return
    moments = rows["moment"].to_numpy(np.int64)
    pair, keys = found.places[view.name], np.array(found.keys[view.name], object)
    state = empty(view, len(keys))
    of_rollups = keyed(rows, rollups)
    # Changes are counted by rollup's key and moment at once: each place is that of both.
    both = {name: key_and_moment(at, moments) for name, at in of_rollups.places.items()}
    for number, step in enumerate(steps(state, pair, moments)):
        places = {name: at[step.rows] for name, (at, _, _) in both.items()}
        events = events_of(rows.iloc[step.rows], step.key)
        folded, changes = take_pairs(view, rollups, step.before, events, places=places, run=0, batch=number)
        keep_states(state, step, folded)
        yield packed_states(view, keys[step.here], finish(view, folded), changed(step.before, folded), step.moments)
        for name, one in changes.items():
            _, of_keys, at = both[name]
            yield as_batch(
                view=[name] * len(one.key),
                item_key=[of_rollups.keys[name][place] for place in of_keys[one.key].tolist()],
                moment=at[one.key],
                line=one.line,
                minute=one.minute,
                amount=one.amount,
            )


def key_and_moment(places: Array, moments: Array) -> tuple[Array, Array, Array]:
    """The place of each row among those of a key and a moment, and of each of these the place of the key and the moment.

    Rows without a place stay without.
    """
    of_rows, found = pd.factorize(pd.MultiIndex.from_arrays([places, moments]))
    return np.where(places < 0, -1, of_rows), found.get_level_values(0).to_numpy(), found.get_level_values(1).to_numpy()


def recount_rollups(
    parts: Iterable[pa.RecordBatch], views: Sequence[StreamView], finish: Finish
) -> Iterator[pa.RecordBatch]:
    rows = whole(parts)
    if rows is None:
        return
    of_pairs = rows[rows["value"].notna()]
    yield pa.RecordBatch.from_pandas(of_pairs, STATES_SCHEMA, preserve_index=False)
    for view in views:
        mine = rows[(rows["view"] == view.name) & rows["value"].isna()]
        mine = mine.sort_values("moment", kind="stable", ignore_index=True)
        places, keys = pd.factorize(mine["item_key"].to_numpy(object))
        state, changes = empty(view, len(keys)), changes_of_rows(mine, places)
        for step in steps(state, places, mine["moment"].to_numpy(np.int64)):
            folded = fold_changes(view, step.before, replace(changes.where(step.rows), key=step.key))
            keep_states(state, step, folded)
            states = packed_states(
                view, keys[step.here], finish(view, folded), changed(step.before, folded), step.moments
            )
            yield states.select(STATES_SCHEMA.names)


@dataclass(frozen=True, kw_only=True)
class MomentStep:
    """One moment of each of several keys: the rows, the place of each row's key among those, which keys these are, their
    states before, and the moment of each.
    """

    rows: Array
    key: Array
    here: Array
    before: State
    moments: Array


def steps(state: State, places: Array, moments: Array) -> Iterator[MomentStep]:
    """Go through rows, which come by moment, each key's moments one after another."""
    for chosen in rounds(places, moments):
        here, key = np.unique(places[chosen], return_inverse=True)
        at = np.zeros(len(here), np.int64)
        at[key] = moments[chosen]
        before = {name: column[here] for name, column in state.items()}
        yield MomentStep(rows=chosen, key=key, here=here, before=before, moments=at)


def keep_states(state: State, step: MomentStep, folded: State) -> None:
    for name, column in folded.items():
        state[name][step.here] = column


def rounds(key: Array, moment: Array) -> Iterator[Array]:
    """Rows in such rounds that each has one moment of a key at most, a key's moments in order; rows come by moment."""
    if not len(key):
        return
    order = np.lexsort((moment, key))
    new_key = np.diff(key[order], prepend=-1) != 0
    new = new_key | (np.diff(moment[order], prepend=-1) != 0)
    count = np.cumsum(new)
    number = np.empty(len(key), np.int64)
    number[order] = count - np.maximum.accumulate(np.where(new_key, count, 0))
    by_round = np.argsort(number, kind="stable")
    yield from np.split(by_round, np.flatnonzero(np.diff(number[by_round])) + 1)


def changed(before: State, after: State) -> Array:
    """Which keys have another state, whatever micro-batch they are marked with."""
    marks = {"_run", "_batch", "_before_at", "_added"}
    differing = [np.asarray(before[name] != after[name], bool) for name in after if name not in marks]
    either: Array = np.logical_or.reduce(differing)
    return either


def packed_states(view: StreamView, keys: Array, state: State, which: Array, moments: Array) -> pa.RecordBatch:
    rows = pack_states(view, keys.tolist(), state, which, as_of=moments)
    return as_batch(
        view=[view.name] * len(rows),
        item_key=[key for key, _ in rows],
        moment=moments[which],
        value=[value for _, value in rows],
    )


def as_batch(**columns: Any) -> pa.RecordBatch:
    """Columns of `FOLDED`, those that are not given being null."""
    rows = len(columns["moment"])
    given = [pa.array(columns.get(field.name, [None] * rows), field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(given, schema=SCHEMA)
