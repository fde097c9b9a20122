"""Remove all values of a view that no definition has any more, then its control item.

First the view is given to no lane, so that whoever still has its definition is refused, then the time that a writer may
have left is waited out. The control item goes last: as long as it is there the view is found. Cut off anywhere and begun
again, it goes on.
"""

import time
from dataclasses import dataclass

from sinks.lease import PushUnderWay, with_store
from sinks.rebuild import clear, outlast_writers
from sinks.rows import Address
from tailrace.definitions import BATCH
from tailrace.store.control import Control
from tailrace.store.dynamodb.wire import PATIENCE_SECONDS
from tailrace.store.lanes import NO_LANE, owner_of
from tailrace.store.port import Store

ABOVE_ALL = 2**63  # no sequence is


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """The lane whose values they were, None where none is known; how many were removed; and whether there was a control
    item.
    """

    lane: str | None
    values: int
    control: bool


def drop_values(address: Address, view: str) -> Dropped:
    """Remove what the store has of a view; raises `PushUnderWay` while somebody writes it."""

    async def run(store: Store) -> Dropped:
        await store.ensure_ready()
        found = (await store.read_controls([view])).get(view)
        if found is None:  # what there may be is of a control item that was lost
            return Dropped(lane=None, values=await clear(store, view, below=ABOVE_ALL), control=False)
        sequence = await take_from_lane(store, view, found)
        if found.open or found.lane != BATCH:  # else each write is confirmed
            await outlast_writers(address)
        values = await clear(store, view, below=ABOVE_ALL)
        removed = await store.remove_control(view, sequence=sequence)
        return Dropped(lane=None if found.lane == NO_LANE else owner_of(found), values=values, control=removed)

    return with_store(address, run, patience=PATIENCE_SECONDS)


async def take_from_lane(store: Store, view: str, found: Control) -> int:
    """Give a view to no lane, unless it is already; returns the sequence that its control item has then."""
    if found.lane == NO_LANE:
        return found.sequence
    if found.lease_until > time.time():
        raise PushUnderWay(f"view {view}: it is being written; stop whatever still has its definition, and try again")
    if not await store.give_to_lane(view, NO_LANE, found=found):
        raise PushUnderWay(f"view {view}: its control item changed while it was dropped; try again")
    return found.sequence + 1
