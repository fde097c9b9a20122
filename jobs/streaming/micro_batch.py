"""One micro-batch: events to window states, written under the lease of each view."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from jobs.streaming.checkpoint import Parked
from jobs.streaming.event_rows import EventRows, events_of, keyed, keys_too_long
from jobs.streaming.fast_path import Changed, narrowed, pack_states, unpack_states, valid_events
from jobs.streaming.window_state import Array, State, fold_changes, horizon_of, take_pairs
from sinks.store_values import write_rows
from tailrace.definitions import STREAM, StreamView
from tailrace.definitions.stream_view import MICROS_PER_MINUTE
from tailrace.errors import DataError
from tailrace.store import lease
from tailrace.store.address import Address, with_store
from tailrace.store.control import Control
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.keys import ItemKeyError, why_too_long
from tailrace.store.lease import Sequenced
from tailrace.store.writer import Outcome


class StoreLost(DataError):
    """The store has nothing of views that the stream had written to; the message names them and says what to do."""


def take_leases(address: Address, views: Sequence[StreamView], *, owner: str, first: bool) -> dict[str, Control]:
    """The leases of the views for one micro-batch; a repetition of it takes them over at once, being the same owner.

    Raises `StoreLost`, and gives them up, where a view was never closed though this is not the first micro-batch: counts
    would begin with what is still to come, under watermarks that cover all.
    """
    leases = {view.name: take_lease_of_view(address, view, owner=owner) for view in views}
    # Every micro-batch closes all views before the next one begins, and with that each has a watermark.
    new = [] if first else [name for name, control in leases.items() if control.watermark is None]
    if new:
        for name, control in leases.items():
            lease.give_up(address, name, control.sequence)
        raise StoreLost(
            f"the store has nothing of {', '.join(new)}, though the stream wrote micro-batches before: the store was lost "
            "or is another one, or the view is new; stop the stream and run `tailrace rebuild`, then start it again"
        )
    return leases


def take_lease_of_view(address: Address, view: StreamView, *, owner: str) -> Control:
    own = f"{owner} {view.name}"
    return lease.take(address, view.name, address.lease_seconds, lane=STREAM, owner=own, keep_cursor=False)


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What a micro-batch is written with: rows of its views, their leases' sequences, and which micro-batch this is.

    `bound` is the latest that watermarks may say, in microseconds like `as_of`; `parked` are the keys to exclude.
    """

    address: Address
    rows: EventRows
    sequences: dict[str, int]
    run: int
    number: int
    as_of: int
    bound: int
    parked: Parked

    @property
    def views(self) -> Sequence[StreamView]:
        """The views, the finest first."""
        return self.rows.views

    @property
    def finest(self) -> StreamView:
        return self.views[0]

    @property
    def rollups(self) -> Sequence[StreamView]:
        return self.views[1:]

    @cached_property
    def horizon(self) -> int:
        return horizon_of(self.finest, self.rollups)

    def exclude(self, view: StreamView, keys: Sequence[str], minutes: Array) -> Array:
        """Which keys are parked, by the minute of the newest event of each."""
        return self.parked.exclude(view.name, keys, minutes, horizon=self.horizon)

    def park_too_long(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Park the keys that no store takes; returns the rows of the others."""
        long = keys_too_long(rows, self.finest)
        newest = (rows["at"][long.index] // MICROS_PER_MINUTE).groupby(long).max()
        minutes = {str(key): int(minute) for key, minute in newest.items()}
        failed = [(key, why_too_long(key)) for key in minutes]
        self.parked.park(self.finest.name, Outcome(refused=len(failed), failed=failed), minutes)
        return rows.drop(long.index)

    async def read(self, view: StreamView, keys: Sequence[str]) -> State:
        """The present state of keys; `empty` where the store has none."""
        async with self.address.open(patience=PATIENCE_SECONDS) as store:
            values = await store.read_values(view.name, keys)
        return unpack_states(view, [values.get(key) for key in keys])

    def write(self, view: StreamView, keys: Sequence[str], state: State, changed: Array, minutes: Array) -> bool:
        """Write the keys that changed, each on condition that nobody has written a newer state, and park those that the
        store refuses. Returns whether it took all; `minutes` are those of their newest events.
        """
        rows = iter(pack_states(view, keys, state, changed, as_of=self.as_of))
        push = Sequenced(view=view.name, sequence=self.sequences[view.name], lease_seconds=self.address.lease_seconds)
        outcome = asyncio.run(write_rows(rows, self.address, push))
        refuse_stale(view, outcome)
        self.parked.park(view.name, outcome, dict(zip(keys, minutes.tolist(), strict=True)))
        refused = {key for key, _ in outcome.failed}
        self.parked.release(view.name, [key for key in keys if key not in refused])
        return not refused


def fold_events(rows: pd.DataFrame, batch: MicroBatch) -> int | None:
    """Fold the rows of `valid_events` into the store; rollups once all pairs are written.

    Returns up to when it has what was appended, in microseconds, as the least of what its partitions came to: one may be
    further behind than another. None where it has no events.
    """
    if rows.empty:
        return None
    fold_rollups(fold_pairs(rows, batch), batch)
    return int(rows.groupby("partition")["appended"].max().min())


def fold_pairs(rows: pd.DataFrame, batch: MicroBatch) -> Mapping[str, Changed]:
    """Write the finest view; returns what its events change in the rollups, by name."""
    if rows.empty:
        return {}
    rows = rows.sort_values("place", kind="stable")  # the order in which the topic has them
    try:
        found = keyed(rows, batch.views)
    except ItemKeyError:
        return fold_pairs(batch.park_too_long(rows), batch)
    keys, places, view = found.keys, found.places, batch.finest
    minutes = newest_minutes(places[view.name], rows["at"].to_numpy(np.int64) // MICROS_PER_MINUTE, keys[view.name])
    excluded = batch.exclude(view, keys[view.name], minutes)
    if excluded.any():
        return fold_pairs(rows[~excluded[places[view.name]]], batch)
    state = asyncio.run(batch.read(view, keys[view.name]))
    events = events_of(rows, places[view.name])
    folded, changes = take_pairs(view, batch.rollups, state, events, places=places, run=batch.run, batch=batch.number)
    changed = (folded["_run"] != state["_run"]) | (folded["_batch"] != state["_batch"])
    if not batch.write(view, keys[view.name], folded, changed, minutes):
        # Again, without those that are parked now; the others have this micro-batch, and repeat the same changes.
        return fold_pairs(rows, batch)
    return {name: narrowed(one, keys[name]) for name, one in changes.items()}


def fold_rollups(changed: Mapping[str, Changed], batch: MicroBatch) -> None:
    """Write the rollups."""
    for view in batch.rollups:
        kept = without_parked(view, changed[view.name], batch) if changed else None
        if not kept or not kept.keys:
            continue
        keys, changes = kept.keys, kept.changes
        state = asyncio.run(batch.read(view, keys))
        left = ~((state["_run"] == batch.run) & (state["_batch"] >= batch.number))
        folded = fold_changes(view, state, changes.where(left[changes.key]))
        folded |= {
            "_run": np.where(left, batch.run, state["_run"]),
            "_batch": np.where(left, batch.number, state["_batch"]),
        }
        batch.write(view, keys, folded, left, newest_minutes(changes.key, changes.minute, keys))


def without_parked(view: StreamView, changed: Changed, batch: MicroBatch) -> Changed:
    keys, changes = changed.keys, changed.changes
    excluded = batch.exclude(view, keys, newest_minutes(changes.key, changes.minute, keys))
    return narrowed(changes.where(~excluded[changes.key]), keys) if excluded.any() else changed


def newest_minutes(key: Array, minute: Array, keys: Sequence[str]) -> Array:
    """The newest minute of each key."""
    found = np.zeros(len(keys), np.int64)
    np.maximum.at(found, key, minute)
    return found


def refuse_stale(view: StreamView, outcome: Outcome) -> None:
    """Stop the micro-batch where a key was newer in the store; it is repeated as a whole, which is harmless."""
    if outcome.stale:
        raise RuntimeError(f"view {view.name}: {outcome.stale} rows were newer in the store")


def write_micro_batch(messages: DataFrame, batch: MicroBatch, *, owner: str) -> None:
    """Take the leases, write, and move the watermarks that readers go by.

    Spark reads; events are folded and written here, in the driver: a micro-batch is so small that shuffles and tasks of
    Python took longer than what they did.
    """
    rows = valid_events(messages, batch.rows)
    # Keys are read under the lease: whoever had it before can write nothing from here on.
    leases = take_leases(batch.address, batch.views, owner=owner, first=batch.number == 0)
    sequences = {name: control.sequence for name, control in leases.items()}
    reached = fold_events(rows, replace(batch, sequences=sequences))
    for view in batch.views:
        close_view(batch, view, leases[view.name], reached=reached)


def close_view(batch: MicroBatch, view: StreamView, leased: Control, *, reached: int | None) -> None:
    """Give the lease up; the watermark is what was reached, and never less than before."""
    watermark = max(leased.watermark or 0, min(reached or 0, batch.bound))
    with_store(
        batch.address,
        lambda store: store.close_push(
            view.name, sequence=leased.sequence, cursor=None, watermark=watermark, features=view.features
        ),
        patience=PATIENCE_SECONDS,
    )
