"""DynamoDB's implementation of the store port: each method is one or a few requests of the client."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from tailrace.definitions import BATCH
from tailrace.schemas.tables import Column
from tailrace.store.control import Control, Cursor, LeaseLost
from tailrace.store.dynamodb import control_item, once, ownership, removals
from tailrace.store.dynamodb.fenced import put_fenced, transact_fenced, update_fenced
from tailrace.store.dynamodb.items import (
    Item,
    binary,
    ensure_table,
    key_in,
    read_items,
    scan,
    sequence_attribute,
    sequence_in,
)
from tailrace.store.dynamodb.ordered import write_ordered
from tailrace.store.dynamodb.refusals import is_condition_failed, late_places, stale_of
from tailrace.store.dynamodb.wire import StoreClient, StoreError
from tailrace.store.order import OrderedValue, Revisions
from tailrace.store.port import OrderedOutcome, Remembered, Row

SEND_SECONDS = 10.0  # for a connection that is free


class DynamoStore:
    """The whole port, over one table."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def ensure_ready(self) -> None:
        """Make the table unless it is there, and wait until it can be used."""
        await ensure_table(self._client)

    async def read_values(self, view: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of a view for some keys, tombstones among them; a key without one is left out."""
        return values_of((await read_items(self._client, keys, (view,))).values(), view)

    async def scan_values(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, bytes]]:
        """All values of a view in one segment of the table, page by page."""
        async for items in scan(self._client, (view,), segment=segment, segments=segments):
            yield values_of(items, view)

    async def scan_sequences(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, int]]:
        """The sequences under which all values of a view were written in one segment of the table, page by page."""
        attribute = sequence_attribute(view)
        async for items in scan(self._client, (attribute,), segment=segment, segments=segments, having=attribute):
            yield {key_in(item): sequence_in(item, view) for item in items}

    async def write_fenced(self, view: str, key: str, value: bytes, *, sequence: int, as_new: bool = False) -> bool:
        """Write a value unless a later sequence has written one, or `as_new`, unless there is an item; False then."""
        write = put_fenced if as_new else update_fenced
        try:
            await write(self._client, key, value, view=view, sequence=sequence)
        except StoreError as error:
            if is_condition_failed(error):
                return False
            raise
        return True

    async def write_together(self, view: str, rows: Sequence[Row], *, sequence: int) -> frozenset[int]:
        """Write values if the push still holds its lease, all or none; returns the places of those that came too late."""
        try:
            await transact_fenced(self._client, rows, view=view, sequence=sequence, as_new=False)
        except StoreError as error:
            late = late_places(error)
            if not late:
                raise
            if 0 in late:  # the check of the lease comes first
                raise LeaseLost(f"view {view}: another push took over from sequence {sequence}") from error
            return frozenset(place - 1 for place in late)
        return frozenset()

    async def write_ordered(self, row: OrderedValue) -> OrderedOutcome:
        """Write a value unless the table has a later order, or a later owner of the view."""
        try:
            return OrderedOutcome(True, await write_ordered(self._client, [row], within=SEND_SECONDS))
        except StoreError as error:
            if is_condition_failed(error):
                return OrderedOutcome(False, stale_of(error, [row])[0])
            raise

    async def remove_below(self, view: str, key: str, *, below: int) -> bool:
        """Remove a value written under a lower sequence; False where there is none, or a newer one."""
        return await removals.remove_below(self._client, view, key, below=below)

    async def purge_tombstone(self, view: str, key: str, *, sequence: int) -> bool:
        """Remove a tombstone written under this sequence; False where something newer is there."""
        return await removals.purge_tombstone(self._client, view, key, sequence=sequence)

    async def read_controls(self, views: Iterable[str]) -> dict[str, Control]:
        """The control items of several views; a view that was never pushed has none."""
        return await control_item.read_controls(self._client, views)

    async def read_sequence(self, view: str) -> int | None:
        """The newest sequence that a push of the view was given; None where there never was one."""
        return await control_item.read_sequence(self._client, view)

    async def take_lease(
        self,
        view: str,
        *,
        owner: str,
        seconds: float,
        lane: str = BATCH,
        keep_cursor: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> Control | None:
        """Take a lease and raise the sequence; None while another holds it, or where another lane owns the view."""
        return await control_item.take_lease(
            self._client, view, owner=owner, seconds=seconds, lane=lane, keep_cursor=keep_cursor, clock=clock
        )

    async def renew_lease(
        self, view: str, *, sequence: int, seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Hold a lease for `seconds` more, or give it up with 0, the open mark staying. Raises `LeaseLost`."""
        await control_item.renew_lease(self._client, view, sequence=sequence, seconds=seconds, clock=clock)

    async def declare_push(self, view: str, *, sequence: int, owner: str, known: bool = True) -> None:
        """Set the open mark of a push that is about to write. Raises `LeaseLost`."""
        await control_item.declare_push(self._client, view, sequence=sequence, owner=owner, known=known)

    async def raise_sequence(self, view: str, *, sequence: int, to: int, owner: str | None = None) -> None:
        """Have the next push write above a sequence, and give the lease up. Raises `LeaseLost`."""
        await control_item.raise_sequence(self._client, view, sequence=sequence, to=to, owner=owner)

    async def close_push(
        self,
        view: str,
        *,
        sequence: int,
        cursor: Cursor | None,
        watermark: int,
        features: Iterable[Column],
        owner: str | None = None,
    ) -> None:
        """Move cursor and watermark, clear the open mark and give the lease up. Raises `LeaseLost`."""
        await control_item.close_push(
            self._client,
            view,
            sequence=sequence,
            cursor=cursor,
            watermark=watermark,
            features=features,
            owner=owner,
        )

    async def mark_purged(self, view: str, *, sequence: int) -> None:
        """Record up to which sequence tombstones are gone; needs no lease."""
        await control_item.mark_purged(self._client, view, sequence=sequence)

    async def give_to_lane(self, view: str, lane: str, *, found: Control) -> bool:
        """Make a lane the owner of a view's values, under a new sequence; False where the control item has changed."""
        return await ownership.give_to_lane(self._client, view, lane, found=found)

    async def remove_control(self, view: str, *, sequence: int) -> bool:
        """Remove the control item of a view that no lane owns; False where it has changed."""
        return await ownership.remove_control(self._client, view, sequence=sequence)

    async def take_revisions(self, view: str, features: Sequence[Column], *, count: int) -> Revisions:
        """Give out revisions higher than any before, and record the schema. Raises `OtherLane`."""
        return await ownership.take_revisions(self._client, view, features, count=count)

    async def move_direct_watermark(self, view: str, *, to: int) -> None:
        """Move the watermark of a direct view forward; never back."""
        await ownership.move_direct_watermark(self._client, view, to=to)

    async def move_stream_watermark(self, view: str, *, owner: str, to: int) -> bool:
        """Move the watermark of a stream's view while it is idle; False where another stream owns it, or it runs."""
        return await ownership.move_stream_watermark(self._client, view, owner=owner, to=to)

    async def claim_once(self, key: str, *, digest: str, orders: str, expires: int, now: int) -> Remembered | None:
        """Take a key until a time in seconds; returns what is remembered where somebody holds it at `now`."""
        return await once.claim_once(self._client, key, digest=digest, orders=orders, expires=expires, now=now)

    async def keep_results(self, key: str, results: str) -> None:
        """Remember what became of the request, unless that is known already."""
        await once.keep_results(self._client, key, results)

    async def forget_expired(self, key: str, *, at: int) -> bool:
        """Remove a key whose time is over at a moment in seconds; False where it is not."""
        return await once.forget_expired(self._client, key, at=at)


def values_of(items: Iterable[Item], view: str) -> dict[str, bytes]:
    """The values that items have of a view."""
    found = ((key_in(item), binary(item, view)) for item in items)
    return {key: value for key, value in found if value is not None}
