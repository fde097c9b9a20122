"""What the store no longer needs, removed from it: old tombstones, and once-only keys whose time is over."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks.history import of_pushes
from tailrace.definitions import FeatureView
from tailrace.lake.tables import Lake
from tailrace.schemas import view_tables
from tailrace.store.address import Address, read_control, with_store
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.port import Store

# A tombstone stays for so long, and for so many lease times: until then an old push's write may still be under way, and
# the tombstone is what refuses it.
KEPT = timedelta(days=1)
LEASES = 10
AT_ONCE = 32  # removals under way
PART = 1_000

Tombstone = tuple[str, int]  # item key and sequence


def purge_tombstones(lake: Lake, address: Address, view: FeatureView, *, now: datetime | None = None) -> int:
    """Remove a view's old tombstones from the store; returns how many.

    It takes no lease: an item that a push has written since carries another sequence, and is left as it is.
    """
    found = read_control(address, view.name)
    if found is None or not lake.exists(view_tables.history_table(view.name)):
        return 0
    before = (now or datetime.now(UTC)) - max(KEPT, LEASES * timedelta(seconds=address.lease_seconds))
    old = of_pushes(lake, view).where(
        (F.col("recorded_at") < F.lit(before)) & (F.col("sequence") > F.lit(found.swept or 0))
    )
    last = old.agg(F.max("sequence")).collect()[0][0]
    if last is None:
        return 0
    removed = remove_tombstones(old, address, view.name)
    with_store(address, lambda store: store.mark_purged(view.name, sequence=last))
    return removed


def remove_tombstones(old: DataFrame, address: Address, view: str) -> int:
    """Remove the tombstones that these rows of the history name, where they are still there."""
    removals = old.where("item_key IS NOT NULL AND value IS NULL").select("item_key", "sequence")
    rows = removals.toLocalIterator()

    async def remove_all(store: Store) -> int:
        removed, part = 0, []
        for row in rows:
            part.append((row.item_key, row.sequence))
            if len(part) == PART:
                removed += await remove_part(store, view, part)
                part = []
        return removed + await remove_part(store, view, part)

    return with_store(address, remove_all, patience=PATIENCE_SECONDS)


async def remove_part(store: Store, view: str, tombstones: Iterable[Tombstone]) -> int:
    """Remove tombstones, several at a time; returns how many."""
    places = asyncio.Semaphore(AT_ONCE)

    async def remove(tombstone: Tombstone) -> bool:
        key, sequence = tombstone
        async with places:
            return await store.purge_tombstone(view, key, sequence=sequence)

    return sum(await asyncio.gather(*map(remove, tombstones)))


@dataclass(frozen=True, kw_only=True)
class LookedOver:
    """What one pass over the store found: of how many writes it removed what was remembered, and the views that have a
    control item.
    """

    forgotten: int = 0
    views: frozenset[str] = frozenset()


def look_over(address: Address, *, now: datetime | None = None) -> LookedOver:
    """Remove what the store remembers of writes that can no longer be sent again, and find the views that it knows."""
    at = int((now or datetime.now(UTC)).timestamp())

    async def look(store: Store) -> LookedOver:
        await store.ensure_ready()
        places, forgotten, views = asyncio.Semaphore(AT_ONCE), 0, set[str]()

        async def remove(key: str) -> bool:
            async with places:
                return await store.forget_expired(key, at=at)

        async for known, expiring in store.scan_records():
            views.update(known)
            forgotten += sum(await asyncio.gather(*map(remove, expiring)))
        return LookedOver(forgotten=forgotten, views=frozenset(views))

    return with_store(address, look, patience=PATIENCE_SECONDS)
