"""Scans of the whole store: what it holds, and old tombstones purged."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from sinks.history import of_pushes
from sinks.net_changes import first_load, net_changes, rows_of_keys, snapshot, spread_by_key, with_open_keys
from sinks.protocol import CHANGES, FIRST_LOAD, FindChanges
from tailrace.definitions import BatchView, FeatureView
from tailrace.lake.delta_log import Pin
from tailrace.lake.tables import Lake, LakeError
from tailrace.schemas import view_tables
from tailrace.schemas.slots import to_micros
from tailrace.store.address import Address, read_control, with_store
from tailrace.store.control import Cursor
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.port import TOMBSTONE, Store

STORED = "item_key string, value binary"
PAGE = pa.schema([("item_key", pa.string()), ("value", pa.binary())])

ITEMS_PER_SEGMENT = 25_000  # some pages: the parts whose end is reported as progress
SEGMENTS = range(4, 1_001)  # how few and how many there may be


def stored_values(spark: SparkSession, address: Address, view: str) -> DataFrame:
    """The values of a view as `item_key, value`, tombstones left out."""
    count = with_store(address, lambda store: store.item_count())
    segments = min(max(count // ITEMS_PER_SEGMENT, SEGMENTS.start), SEGMENTS.stop - 1)

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for segment in batch.column("id").to_pylist():
                yield from one_by_one(read_segment(address, view, segment, segments))

    return spark.range(0, segments, 1, segments).mapInArrow(read, STORED)


def one_by_one(pages: AsyncIterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pages as they come, for code that is not asynchronous: a task never holds a whole segment."""
    with asyncio.Runner() as runner:
        while True:
            try:
                yield runner.run(next_of(pages))
            except StopAsyncIteration:
                return


async def next_of(pages: AsyncIterator[pa.RecordBatch]) -> pa.RecordBatch:
    return await anext(pages)


def stored_values_of(keys: DataFrame, address: Address, view: str) -> DataFrame:
    """The values of a view for some keys, as `item_key, value`; a key without one is left out."""

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield asyncio.run(read_keys(address, view, batch.column("item_key").to_pylist()))

    return keys.select("item_key").mapInArrow(read, STORED)


async def read_segment(address: Address, view: str, segment: int, segments: int) -> AsyncIterator[pa.RecordBatch]:
    async with address.open() as store:
        async for values in store.scan_values(view, segment=segment, segments=segments):
            yield page_of(values)


async def read_keys(address: Address, view: str, keys: list[str]) -> pa.RecordBatch:
    async with address.open() as store:
        return page_of(await store.read_values(view, keys))


def page_of(values: Mapping[str, bytes]) -> pa.RecordBatch:
    rows = [{"item_key": key, "value": value} for key, value in values.items() if value != TOMBSTONE]
    return pa.RecordBatch.from_pylist(rows, PAGE)


async def has_values(store: Store, view: str) -> bool:
    """Whether the store holds anything of a view, tombstones included."""

    async def is_in(segment: int) -> bool:
        async for page in store.scan_sequences(view, segment=segment, segments=SEGMENTS.start):
            if page:
                return True
        return False

    return any(await asyncio.gather(*map(is_in, range(SEGMENTS.start))))


async def highest_sequence(store: Store, view: str) -> int | None:
    """The highest sequence of a view in the store; None where it holds nothing of it."""

    async def of(segment: int) -> list[int]:
        pages = store.scan_sequences(view, segment=segment, segments=SEGMENTS.start)
        return [max(page.values()) async for page in pages if page]

    found = await asyncio.gather(*map(of, range(SEGMENTS.start)))
    return max((highest for part in found for highest in part), default=None)


def rows_to_decide(lake: Lake, address: Address, view: BatchView, step: FindChanges) -> DataFrame:
    """The rows of `sinks.net_changes` that a plan asks for."""
    plan, since, until = step.plan, step.since, step.until
    gold = lake.read(view.table, version=until.version)
    if plan.how == FIRST_LOAD:
        return first_load(gold, view)
    if plan.how == CHANGES and since is not None:
        if since == until:  # an open push is all there is
            return spread_by_key(rows_of_keys(plan.open_keys, gold, view))
        rows = net_changes(lake.changes(view.table, start=since.version + 1, end=until.version), view)
    else:
        rows = snapshot(gold, stored_values(lake.spark, address, view.name), view)
    return rows if plan.open_keys is None else with_open_keys(rows, plan.open_keys, gold, view)


def newest(lake: Lake, view: BatchView) -> tuple[Cursor, int]:
    """Gold's newest version as a cursor, and its as-of in microseconds."""
    pin = lake.pin(view.table)
    state = lake.state(view.table, version=pin.version)
    if state is None:
        raise LakeError(f"{view.table.full_name} has no refresh state; run `tailrace refresh`")
    if not state.exclusive:
        raise LakeError(
            f"{view.table.full_name} was written by two refreshes at once; run `tailrace refresh`, which mends it"
        )
    cursor = Cursor(
        table_id=pin.table_id, version=pin.version, commit=pin.commit, fingerprint=view.publication_fingerprint
    )
    return cursor, to_micros(datetime.fromisoformat(state.values["as_of"]))


def definition_at(lake: Lake, view: BatchView, version: int) -> str | None:
    """The fingerprint of the definition that gold was computed by at a version; None where no commit says so."""
    state = lake.state(view.table, version=version)
    return state.values.get("definition") if state else None


def has_version(lake: Lake, view: BatchView, cursor: Cursor) -> bool:
    """Whether gold still has the version of a cursor, and as the same commit."""
    return lake.pin(view.table, version=cursor.version) == pin_of(cursor)


def pin_of(cursor: Cursor) -> Pin:
    return Pin(cursor.table_id, cursor.version, cursor.commit)


# A tombstone stays for so long, and for so many lease times: until then an old push's write may still be under way, and
# the tombstone is what refuses it.
KEPT = timedelta(days=1)
LEASES = 10
AT_ONCE = 32  # removals under way
PART = 1_000

Tombstone = tuple[str, int]  # item key and sequence


def sweep_view(lake: Lake, address: Address, view: FeatureView, *, now: datetime | None = None) -> int:
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
