"""What Tailrace asks of an online store, in its own words: a second backend implements this and nothing else.

A store keeps one item per entity key, on which each view has a value and the sequence under which it was written, and in
the lane direct an order; one control item per view; and once-only keys. Every change is conditional: whoever comes
late, twice or after losing a lease changes nothing. An empty value is a tombstone. Times are in microseconds since 1970
unless a name says seconds.

What a store cannot do for now it raises as `StoreError`. The reader's batch reads go past this port on purpose: they are
hedged and decoded without an object per key (`serving/read/fetch.py`), which a further method would cost.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tailrace.schemas.tables import Column
from tailrace.store.control import Control, Cursor
from tailrace.store.order import Order, OrderedValue, Revisions

Row = tuple[str, bytes]  # item key and packed value


@dataclass(frozen=True, slots=True)
class OrderedOutcome:
    """Whether a value was written, and the order that the store has or had instead; None where it has none to compare."""

    is_written: bool
    stored: Order | None


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """What the store remembers under a once-only key; None where it has no text of that name."""

    digest: str | None
    orders: str | None
    results: str | None


class ValueStore(Protocol):
    """The values of views, by item key."""

    async def ensure_ready(self) -> None:
        """Make the store's table unless it is there, and wait until it can be used."""

    async def read_values(self, view: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of a view for some keys, tombstones among them; a key without one is left out."""

    def scan_values(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, bytes]]:
        """All values of a view in one segment of the store, page by page."""

    def scan_sequences(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, int]]:
        """The sequences under which all values of a view were written in one segment of the store, page by page."""

    async def write_fenced(self, view: str, key: str, value: bytes, *, sequence: int, as_new: bool = False) -> bool:
        """Write a value unless a later sequence has written one, or `as_new`, unless there is an item; False then."""

    async def write_together(self, view: str, rows: Sequence[Row], *, sequence: int) -> frozenset[int]:
        """Write values if the push still holds its lease, all or none; returns the places of those that came too late.

        Where there are any, none was written. Raises `LeaseLost`.
        """

    async def write_ordered(self, row: OrderedValue) -> OrderedOutcome:
        """Write a value unless the store has a later order, or a later owner of the view."""

    async def remove_below(self, view: str, key: str, *, below: int) -> bool:
        """Remove a value written under a lower sequence; False where there is none, or a newer one."""

    async def purge_tombstone(self, view: str, key: str, *, sequence: int) -> bool:
        """Remove a tombstone written under this sequence; False where something newer is there."""


class ControlStore(Protocol):
    """The control item of each view, and the transitions that it may make."""

    async def read_controls(self, views: Iterable[str]) -> dict[str, Control]:
        """The control items of several views; a view that was never pushed has none."""

    async def read_sequence(self, view: str) -> int | None:
        """The newest sequence that a push of the view was given; None where there never was one."""

    async def take_lease(
        self,
        view: str,
        *,
        owner: str,
        seconds: float,
        lane: str,
        keep_cursor: bool = True,
        clock: Callable[[], float] = ...,
    ) -> Control | None:
        """Take a lease and raise the sequence; None while another holds it, or where another lane owns the view."""

    async def renew_lease(self, view: str, *, sequence: int, seconds: float, clock: Callable[[], float] = ...) -> None:
        """Hold a lease for `seconds` more, or give it up with 0, the open mark staying. Raises `LeaseLost`."""

    async def declare_push(self, view: str, *, sequence: int, owner: str, known: bool = True) -> None:
        """Set the open mark of a push that is about to write. Raises `LeaseLost`."""

    async def raise_sequence(self, view: str, *, sequence: int, to: int, owner: str | None = None) -> None:
        """Have the next push write above a sequence, and give the lease up. Raises `LeaseLost`."""

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

    async def mark_purged(self, view: str, *, sequence: int) -> None:
        """Record up to which sequence tombstones are gone; needs no lease."""

    async def give_to_lane(self, view: str, lane: str, *, found: Control) -> bool:
        """Make a lane the owner of a view's values, under a new sequence; False where the control item has changed."""

    async def remove_control(self, view: str, *, sequence: int) -> bool:
        """Remove the control item of a view that no lane owns; False where it has changed."""

    async def take_revisions(self, view: str, features: Sequence[Column], *, count: int) -> Revisions:
        """Give out revisions higher than any before, and record the schema. Raises `OtherLane`."""

    async def move_direct_watermark(self, view: str, *, to: int) -> None:
        """Move the watermark of a direct view forward; never back."""

    async def move_stream_watermark(self, view: str, *, owner: str, to: int) -> bool:
        """Move the watermark of a stream's view while it is idle; False where another stream owns it, or it runs."""


class OnceStore(Protocol):
    """Once-only keys: a request that is sent again is answered as it was."""

    async def claim_once(self, key: str, *, digest: str, orders: str, expires: int, now: int) -> Remembered | None:
        """Take a key until a time in seconds; returns what is remembered where somebody holds it at `now`."""

    async def keep_results(self, key: str, results: str) -> None:
        """Remember what became of the request, unless that is known already."""

    async def forget_expired(self, key: str, *, at: int) -> bool:
        """Remove a key whose time is over at a moment in seconds; False where it is not."""


class Store(ValueStore, ControlStore, OnceStore, Protocol):
    """The whole port."""
