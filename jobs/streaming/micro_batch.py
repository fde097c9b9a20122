"""One micro-batch into the online store: leases, the pairs that its events are about, the views counted by them, close.

Delta is not touched here: what the stream knows is in the items themselves, each written in one step, so that every key
takes every micro-batch once, however often it is repeated.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame

from features.language import FeatureView
from jobs.streaming.frames import Changed, events_of, keyed, with_keys
from jobs.streaming.leases import take_leases
from jobs.streaming.pairs import take_pairs
from jobs.streaming.state import Array, State, fold
from jobs.streaming.usable import usable_events
from jobs.streaming.values import packed, unpacked
from online.control import Control, close_push
from online.items import binary, read_items
from online.wire import PATIENCE_SECONDS, open_store
from sinks import lease
from sinks.rows import Address, Outcome, Sequenced
from sinks.writer import write_rows


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """What a micro-batch is written with: the views, the finest first, their leases' sequences, and which micro-batch this is."""

    address: Address
    views: Sequence[FeatureView]
    sequences: dict[str, int]
    run: int
    number: int
    as_of: int

    @property
    def finest(self) -> FeatureView:
        return self.views[0]

    @property
    def coarser(self) -> Sequence[FeatureView]:
        return self.views[1:]

    async def read(self, view: FeatureView, keys: Sequence[str]) -> State:
        """The present state of keys; `empty` where the store has none."""
        address = self.address
        async with open_store(
            url=address.url, region=address.region, table=address.table, patience=PATIENCE_SECONDS
        ) as client:
            items = await read_items(client, keys, (view.name,))
        return unpacked(view, [binary(items.get(key, {}), view.name) for key in keys])

    def write(self, view: FeatureView, keys: Sequence[str], state: State, changed: Array) -> Outcome:
        """Write the keys that changed, each on condition that nobody has written a newer state."""
        rows = iter(packed(view, keys, state, changed, as_of=self.as_of))
        push = Sequenced(view=view.name, sequence=self.sequences[view.name], lease_seconds=self.address.lease_seconds)
        return asyncio.run(write_rows(rows, self.address, push))


def take(rows: pd.DataFrame, batch: MicroBatch) -> int | None:
    """Fold the rows of `usable_events` into the store; coarser views once all pairs are written.

    Returns up to when it has what was appended, in microseconds, as the least of what its partitions came to: one may be
    further behind than another. None where it has no events.
    """
    if rows.empty:
        return None
    fold_coarser(fold_pairs(rows, batch), batch)
    return int(rows.groupby("partition")["appended"].max().min())


def fold_pairs(rows: pd.DataFrame, batch: MicroBatch) -> Mapping[str, Changed]:
    """Write the finest view; returns what its events change in the coarser ones, by name."""
    rows = rows.sort_values("place", kind="stable")  # the order in which the topic has them
    found = keyed(rows, batch.views)
    keys, places, view = found.keys, found.places, batch.finest
    state = asyncio.run(batch.read(view, keys[view.name]))
    events = events_of(rows, places[view.name])
    folded, changes = take_pairs(view, batch.coarser, state, events, places=places, run=batch.run, batch=batch.number)
    changed = (folded["_run"] != state["_run"]) | (folded["_batch"] != state["_batch"])
    check(view, batch.write(view, keys[view.name], folded, changed))
    return {name: with_keys(one, keys[name]) for name, one in changes.items()}


def fold_coarser(changed: Mapping[str, Changed], batch: MicroBatch) -> None:
    """Write the coarser views."""
    for view in batch.coarser:
        keys, changes = changed[view.name].keys, changed[view.name].changes
        if not keys:
            continue
        state = asyncio.run(batch.read(view, keys))
        left = ~((state["_run"] == batch.run) & (state["_batch"] >= batch.number))
        folded = fold(view, state, changes.where(left[changes.key]))
        folded |= {
            "_run": np.where(left, batch.run, state["_run"]),
            "_batch": np.where(left, batch.number, state["_batch"]),
        }
        check(view, batch.write(view, keys, folded, left))


def check(view: FeatureView, outcome: Outcome) -> None:
    """Stop the micro-batch where a key was not written; it is repeated as a whole, which is harmless."""
    if outcome.refused or outcome.stale:
        told = "; ".join(f"{key!r}: {reason}" for key, reason in outcome.failed)
        raise RuntimeError(
            f"view {view.name}: {outcome.stale} rows were newer in the store, {outcome.refused} refused: {told}"
        )


def write_micro_batch(messages: DataFrame, batch: MicroBatch, *, owner: str) -> None:
    """Take the leases, write, and tell readers how fresh the views are.

    Spark reads; events are folded and written here, in the driver: a micro-batch is so small that shuffles and tasks of
    Python took longer than what they did.
    """
    rows = usable_events(messages)
    # Keys are read under the lease: whoever held it before can write nothing from here on.
    taken = take_leases(batch.address, batch.views, owner=owner, first=batch.number == 0)
    sequences = {name: control.sequence for name, control in taken.items()}
    reached = take(rows, replace(batch, sequences=sequences))
    for view in batch.views:
        close(batch, view, taken[view.name], reached=reached)


def close(batch: MicroBatch, view: FeatureView, taken: Control, *, reached: int | None) -> None:
    """Give the lease up; the watermark tells of what was reached, and never of less than before."""
    watermark = max(taken.watermark or 0, min(reached or 0, batch.as_of))
    lease.with_client(
        batch.address,
        lambda client: close_push(
            client, view.name, sequence=taken.sequence, cursor=None, watermark=watermark, features=view.features
        ),
        patience=PATIENCE_SECONDS,
    )
