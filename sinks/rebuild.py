"""A view's values written anew, whatever lane it was of before, or removed with the view."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailrace.definitions import BATCH, FeatureView
from tailrace.store.address import Address, with_store
from tailrace.store.control import NO_LANE, Control, owner_of
from tailrace.store.direct.sender import SEND_SECONDS
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.lease import PushUnderWay
from tailrace.store.port import Store

if TYPE_CHECKING:  # Spark, which dropping a view does without
    from sinks.reconcile import Source

AT_ONCE = 32
LAST_WORDS_SECONDS = 2 * SEND_SECONDS  # for what the lane that had the view has sent, or still may


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A view's lane, and the one that had it before, empty where no other had it; how many values of that one were
    removed, how many were written, and the time, that of all views which are rebuilt together.
    """

    lane: str
    taken_from: str
    removed: int
    written: int
    seconds: float


def rebuild(source: "Source") -> dict[str, Rebuilt]:
    """Give views to the lane of their definition, and write every value that their source has; by view."""
    began = time.monotonic()
    handed = {view.name: hand_over(source.address, view) for view in source.views}
    written = source.write_all()
    seconds = round(time.monotonic() - began, 2)
    return {
        view.name: Rebuilt(
            lane=view.lane,
            taken_from=handed[view.name].before or "",
            removed=handed[view.name].removed,
            written=written[view.name],
            seconds=seconds,
        )
        for view in source.views
    }


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """The lane that had the view before, None where none other had; how many values it had left, now removed."""

    before: str | None
    removed: int


def hand_over(address: Address, view: FeatureView) -> HandedOver:
    """Make the lane of the definition the view's owner, unless it is, and remove what others left."""

    async def run(store: Store) -> HandedOver:
        await store.ensure_ready()
        found = (await store.read_controls([view.name])).get(view.name)
        if found is None:
            return HandedOver(before=None, removed=0)
        owner = owner_of(found)
        if owner in {None, view.lane}:
            if found.owned_from is None:
                return HandedOver(before=None, removed=0)
            before, below = None, found.owned_from  # perhaps cut off before all was removed
        elif await store.give_to_lane(view.name, view.lane, found=found):
            before, below = owner, found.sequence + 1
        else:
            raise PushUnderWay(f"view {view.name}: its control item changed while it was handed over; try again")
        await outlast_writers(address)
        return HandedOver(before=before, removed=await clear(store, view.name, below=below))

    return with_store(address, run, patience=PATIENCE_SECONDS)


async def outlast_writers(address: Address) -> None:
    """Wait until nothing is under way any more of whoever wrote a view before its control item changed hands."""
    await asyncio.sleep(max(LAST_WORDS_SECONDS, address.lease_seconds))


async def clear(store: Store, view: str, *, below: int) -> int:
    """Remove the view's attributes from all items that have them under a lower sequence; returns from how many."""
    removed = 0
    async for page in store.scan_sequences(view):
        keys = [key for key, sequence in page.items() if sequence < below]
        removed += await remove_all(store, view, keys, below=below)
    return removed


async def remove_all(store: Store, view: str, keys: Iterable[str], *, below: int) -> int:
    """Remove a view's values from some items, several at a time; returns from how many."""
    places = asyncio.Semaphore(AT_ONCE)

    async def remove(key: str) -> bool:
        async with places:
            return await store.remove_below(view, key, below=below)

    return sum(await asyncio.gather(*map(remove, keys)))


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
