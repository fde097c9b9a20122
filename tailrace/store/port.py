"""What Tailrace asks of an online store, in its own words: a second backend implements this and nothing else.

A store keeps one item per entity key, on which each view has a value and the sequence under which it was written, and in
the lane direct an order; one control item per view; and once-only keys. Every change is conditional: whoever comes
late, twice or after losing a lease changes nothing. An empty value is a tombstone. Times are in microseconds since 1970
unless a name says seconds.

What a store cannot do for now it raises as `StoreError`. A backend spells values, reads for the reader, once-only keys
and `change_control`; the methods of `ControlStore` that follow from that one are here.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tailrace.definitions import BATCH, DIRECT
from tailrace.schemas.tables import Column
from tailrace.store.control import (
    CLOSE_PUSH,
    DECLARE_PUSH,
    GIVE_TO_LANE,
    MARK_PURGED,
    MOVE_DIRECT_WATERMARK,
    MOVE_STREAM_WATERMARK,
    RAISE_SEQUENCE,
    REMOVE_CONTROL,
    RENEW_LEASE,
    TAKE_LEASE,
    TAKE_LEASE_WITHOUT_CURSOR,
    TAKE_REVISIONS,
    Control,
    Cursor,
    Fields,
    LeaseLost,
    Transition,
    control_from,
    refuse_other_lane,
    sequence_before_first,
    stored_schema,
)
from tailrace.store.failures import PATIENCE_SECONDS, Patience, StoreError
from tailrace.store.order import REVISIONS, Order, OrderedValue, Revisions

Row = tuple[str, bytes]  # item key and packed value
Item = dict[str, Any]  # one item by view, in the store's own spelling, which its `values_in` reads
Turn = Callable[[], Awaitable[None]]

TOMBSTONE = b""

# What every store takes in one request.
KEYS_PER_READ = 100
ROWS_TOGETHER = 100  # written all or none; a check of the lease is one of them
BYTES_TOGETHER = 3_000_000  # with one more row, which may be large


@dataclass(frozen=True, slots=True)
class Stale:
    """The store has a newer value and kept it. `stored` is that value's order, None if the store did not say it, or if
    another lane wrote the value.
    """

    stored: Order | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The store will never take this value; `why` is what it said, `code` its name for it."""

    why: str
    code: str = field(default="", compare=False)


KeptOut = Mapping[int, Stale | Refused]  # of rows sent together, by place; empty where all were written


@dataclass(frozen=True, slots=True)
class OrderedOutcome:
    """The rows that were kept out and, of a single row that was written, the order that the store had before.

    `is_throttled` says that the store also takes fewer writes than it is sent.
    """

    kept_out: KeptOut
    before: Order | None = None
    is_throttled: bool = False


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What the store remembers under a once-only key; None where it has no text of that name."""

    digest: str | None
    orders: str | None
    results: str | None


class ValueStore(Protocol):
    """The values of views, by item key."""

    async def ensure_ready(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Make the store's table unless it is there, and wait so many seconds until it can be used.

        Whoever writes asks for it first. Raises `OtherEnvironment` where another environment than that of this home has
        written to the store before, and otherwise notes which one did.
        """

    async def item_count(self) -> int:
        """About how many items the store holds; it may be hours old."""

    async def has_items(self) -> bool:
        """Whether the store holds items of any entity."""

    async def read_values(self, view: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of a view for some keys, tombstones among them; a key without one is left out."""

    def scan_values(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, bytes]]:
        """All values of a view in one segment of the store, page by page."""

    def scan_sequences(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, int]]:
        """The sequences under which all values of a view were written in one segment of the store, page by page."""

    async def write_fenced(self, view: str, key: str, value: bytes, *, sequence: int, as_new: bool = False) -> bool:
        """Write a value unless a later sequence has written one, or `as_new`, unless there is an item; False then."""

    async def write_together(self, view: str, rows: Sequence[Row], *, sequence: int, as_new: bool = False) -> KeptOut:
        """Write values if the push still holds its lease, all or none; returns the rows that are kept out.

        Where there are any, none was written. Raises `LeaseLost`.
        """

    async def write_ordered(self, rows: Sequence[OrderedValue], *, within: float | None = None) -> OrderedOutcome:
        """Write values, each of another item, all or none, unless the store has a later order, or a later owner of the view.

        A connection has to be free within so many seconds.
        """

    async def remove_below(self, view: str, key: str, *, below: int) -> bool:
        """Remove a value written under a lower sequence; False where there is none, or a newer one."""

    async def purge_tombstone(self, view: str, key: str, *, sequence: int) -> bool:
        """Remove a tombstone written under this sequence; False where something newer is there."""


class ControlStore(Protocol):
    """The control item of each view. A store reads it and makes its transitions; what they are for is said here, once."""

    async def read_controls(self, views: Iterable[str]) -> dict[str, Control]:
        """The control items of several views; a view that was never pushed has none."""

    async def read_sequence(self, view: str) -> int | None:
        """The newest sequence that a push of the view was given; None where there never was one."""

    async def change_control(
        self, view: str, transition: Transition, given: Fields, *, once: bool = False
    ) -> Fields | None:
        """Make a transition in one step; returns the fields that it asks for, None where the control item does not allow it.

        `once` says that a request that fails is not tried again.
        """

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
        """Take a lease and raise the sequence; None while another holds it, or where another lane owns the view.

        `owner` is unique to a push: it may take its own lease again where an answer was lost. Returns the control item as
        it was before, with the sequence and the owner of this lease.
        """
        now, before_first = clock(), sequence_before_first(clock)
        transition = TAKE_LEASE if keep_cursor else TAKE_LEASE_WITHOUT_CURSOR
        given = {"owner": owner, "lane": lane, "now": round(now, 3), "until": round(now + seconds, 3)}
        before = await self.change_control(view, transition, given | {"before_first": before_first})
        if before is None:
            return None
        control = control_from(before) if "sequence" in before else Control(sequence=before_first)
        return replace(control, sequence=control.sequence + 1, lease_owner=owner)

    async def renew_lease(
        self, view: str, *, sequence: int, seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Hold a lease for `seconds` more, or give it up with 0, the open mark staying. Raises `LeaseLost`."""
        until = round(clock() + seconds, 3) if seconds else 0.0
        await self._under_lease(view, RENEW_LEASE, {"until": until}, sequence=sequence)

    async def declare_push(self, view: str, *, sequence: int, owner: str, known: bool = True) -> None:
        """Set the open mark of a push that is about to write. Raises `LeaseLost`.

        Unless `known`, what open pushes wrote is not all recorded: then this push is not named as the one that recorded it.
        """
        named = {"declared": sequence, "declared_by": owner} if known else {}
        await self._under_lease(view, DECLARE_PUSH, {"owner": owner} | named, sequence=sequence)

    async def raise_sequence(self, view: str, *, sequence: int, to: int, owner: str | None = None) -> None:
        """Have the next push write above a sequence, and give the lease up. Raises `LeaseLost`."""
        await self._under_lease(view, RAISE_SEQUENCE, {"to": max(sequence, to), "owner": owner}, sequence=sequence)

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
        """Move cursor and watermark, clear the open mark and give the lease up. Raises `LeaseLost`.

        A view that is not pushed from gold has no cursor.
        """
        given = {"cursor": cursor, "watermark": watermark, "features": stored_schema(features), "owner": owner}
        await self._under_lease(view, CLOSE_PUSH, given, sequence=sequence)

    async def _under_lease(self, view: str, transition: Transition, given: Fields, *, sequence: int) -> None:
        if await self.change_control(view, transition, {**given, "sequence": sequence}) is None:
            raise LeaseLost(f"view {view}: another push took over from sequence {sequence}")

    async def mark_purged(self, view: str, *, sequence: int) -> None:
        """Record up to which sequence tombstones are gone; needs no lease."""
        await self.change_control(view, MARK_PURGED, {"purged": sequence})

    async def give_to_lane(self, view: str, lane: str, *, found: Control) -> bool:
        """Make a lane the owner of a view's values, under a new sequence; False where the control item has changed."""
        given = {"sequence": found.sequence, "next": found.sequence + 1, "before": found.lane, "lane": lane}
        return await self.change_control(view, GIVE_TO_LANE, given) is not None

    async def remove_control(self, view: str, *, sequence: int) -> bool:
        """Remove the control item of a view that no lane owns; False where it has changed."""
        return await self.change_control(view, REMOVE_CONTROL, {"sequence": sequence}) is not None

    async def take_revisions(self, view: str, features: Sequence[Column], *, count: int) -> Revisions:
        """Give out revisions higher than any before, and record the schema. Raises `OtherLane`.

        `schemas` has every schema that values were written under, for readers to decode them with: several are in use
        while a definition rolls out. `features` is the first of them, or what an earlier version wrote last. The first
        revision of a control item is the clock's microseconds: one that was lost with its store gave lower ones.
        """
        given = {"count": count, "schema": stored_schema(features), "start": time.time_ns() // 1000}
        now = await self.change_control(view, TAKE_REVISIONS, given | {"before_first": sequence_before_first()})
        if now is None:
            await self.check_lane(view, DIRECT)
            raise StoreError("ControlChanged", f"view {view}: its control item changed meanwhile; send it again")
        sequence, last = now.get("sequence", -1), now.get("revision", -1)
        if sequence not in REVISIONS or last not in REVISIONS or last < count:  # none of them is to be logged
            raise StoreError("Unreadable", f"view {view} was given no sequence and revisions that order its values")
        return Revisions(sequence=sequence, first=last - count + 1)

    async def check_lane(self, view: str, lane: str) -> None:
        """Raise `OtherLane` where the view's values are those of another lane than this."""
        refuse_other_lane((await self.read_controls([view])).get(view), view, lane)

    async def move_direct_watermark(self, view: str, *, to: int) -> None:
        """Move the watermark of a direct view forward; never back."""
        await self.change_control(view, MOVE_DIRECT_WATERMARK, {"to": to})

    async def move_stream_watermark(self, view: str, *, owner: str, to: int) -> bool:
        """Move the watermark of a stream's view while it is idle; False where another stream owns it, or it runs.

        Its values stand while no events come, and hold for a later moment all the same. Tried once: the next comes soon.
        """
        given = {"stream": f"{owner} ", "to": to}
        try:
            return await self.change_control(view, MOVE_STREAM_WATERMARK, given, once=True) is not None
        except StoreError as error:
            if error.is_missing:
                return False  # nor is there anything to move before the first micro-batch
            raise


class ItemReads(Protocol):
    """Reads of many items as the store spells them, for the reader: sent twice where one is slow, and decoded without an
    object per key.
    """

    def prepare_read(self, views: Sequence[str], keys: Sequence[str]) -> bytes:
        """A request for the values that at most `KEYS_PER_READ` keys, none of them twice, have of some views."""

    async def send_read(self, request: bytes, *, turn: Turn | None = None) -> tuple[dict[str, Item], list[str]]:
        """Send a request once; returns the items by key, and the keys that the store did not get to.

        Where there is a `turn`, the answer is read after that. What is read may be a moment old.
        """

    def values_in(
        self, items: Mapping[str, Item], keys: Collection[str], view: str
    ) -> tuple[list[bytes], list[bool] | None]:
        """The values of a view in items that were read, in the order of the keys; tombstones and missing values are left out.

        Then says of each key whether it has a value; None if all of them have one. Something that is not a value is returned
        as bytes that no codec can decode.
        """


class OnceStore(Protocol):
    """Once-only keys: a request that is sent again is answered as it was."""

    async def claim_once(self, key: str, *, digest: str, orders: str, expires: int, now: int) -> Remembered | None:
        """Take a key until a time in seconds; returns what is remembered where somebody holds it at `now`."""

    async def keep_results(self, key: str, results: str) -> None:
        """Remember what became of the request, unless that is known already."""

    async def forget_expired(self, key: str, *, at: int) -> bool:
        """Remove a key whose time is over at a moment in seconds; False where it is not."""

    def scan_records(self) -> AsyncIterator[tuple[list[str], list[str]]]:
        """The views that have a control item, and the once-only keys, page by page."""


class Store(ValueStore, ControlStore, ItemReads, OnceStore, Protocol):
    """The whole port; `requests` and `bytes_sent` count what was sent to the store so far."""

    @property
    def requests(self) -> int: ...

    @property
    def bytes_sent(self) -> int: ...

    def be_patient(self) -> Patience:
        """For how long one request may be tried."""
