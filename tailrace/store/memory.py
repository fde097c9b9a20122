"""The store port in the memory of one process: for tests without a store, and what a second backend has to write.

No method waits for anything, which makes each of them one step, as a request is one in a store.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tailrace.definitions import BATCH, DIRECT, STREAM
from tailrace.schemas.tables import Column
from tailrace.store.control import Control, Cursor, LeaseLost, sequence_before_first
from tailrace.store.lanes import NO_LANE, refuse_other_lane
from tailrace.store.order import Order, OrderedValue, Revisions
from tailrace.store.port import OrderedOutcome, Remembered, Row

PAGE = 100  # values of a scan


@dataclass(frozen=True, slots=True)
class Stored:
    """A value of one view on an item."""

    value: bytes
    sequence: int
    order: Order | None = None


@dataclass
class MemoryValues:
    """Values by view and item key."""

    items: dict[str, dict[str, Stored]] = field(default_factory=dict)  # by item key, then by view
    controls: dict[str, Control] = field(default_factory=dict)

    async def ensure_ready(self) -> None:
        """Nothing has to be made."""

    async def read_values(self, view: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of a view for some keys, tombstones among them; a key without one is left out."""
        return {key: stored.value for key in keys if (stored := self._stored(view, key)) is not None}

    async def scan_values(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, bytes]]:
        """All values of a view in one segment, page by page."""
        for page in self._pages(view, segment, segments):
            yield {key: stored.value for key, stored in page}

    async def scan_sequences(self, view: str, *, segment: int = 0, segments: int = 1) -> AsyncIterator[dict[str, int]]:
        """The sequences under which all values of a view were written in one segment, page by page."""
        for page in self._pages(view, segment, segments):
            yield {key: stored.sequence for key, stored in page}

    async def write_fenced(self, view: str, key: str, value: bytes, *, sequence: int, as_new: bool = False) -> bool:
        """Write a value unless a later sequence has written one, or `as_new`, unless there is an item; False then."""
        if key in self.items if as_new else self._is_late(view, key, sequence):
            return False
        self._put(view, key, value, sequence)
        return True

    async def write_together(self, view: str, rows: Sequence[Row], *, sequence: int) -> frozenset[int]:
        """Write values if the push still holds its lease, all or none; returns the places of those that came too late."""
        if view not in self.controls or self.controls[view].sequence != sequence:
            raise LeaseLost(f"view {view}: another push took over from sequence {sequence}")
        late = frozenset(place for place, (key, _) in enumerate(rows) if self._is_late(view, key, sequence))
        if not late:
            for key, value in rows:
                self._put(view, key, value, sequence)
        return late

    async def write_ordered(self, row: OrderedValue) -> OrderedOutcome:
        """Write a value unless there is a later order, or a later owner of the view."""
        stored = self._stored(row.view, row.item_key)
        before = stored.order if stored is not None and stored.sequence == row.sequence else None
        is_late = stored is not None and stored.sequence > row.sequence
        if is_late or (before is not None and before > row.order):
            return OrderedOutcome(False, before)
        self._put(row.view, row.item_key, row.value, row.sequence, row.order)
        return OrderedOutcome(True, before)

    async def remove_below(self, view: str, key: str, *, below: int) -> bool:
        """Remove a value written under a lower sequence; False where there is none, or a newer one."""
        stored = self._stored(view, key)
        return stored is not None and stored.sequence < below and self._remove(view, key)

    async def purge_tombstone(self, view: str, key: str, *, sequence: int) -> bool:
        """Remove a tombstone written under this sequence; False where something newer is there."""
        stored = self._stored(view, key)
        return stored is not None and stored.sequence == sequence and not stored.value and self._remove(view, key)

    def _stored(self, view: str, key: str) -> Stored | None:
        return self.items.get(key, {}).get(view)

    def _is_late(self, view: str, key: str, sequence: int) -> bool:
        stored = self._stored(view, key)
        return stored is not None and stored.sequence > sequence

    def _put(self, view: str, key: str, value: bytes, sequence: int, order: Order | None = None) -> None:
        stored = self._stored(view, key)
        kept = stored.order if order is None and stored is not None else order  # a push leaves the order as it is
        self.items.setdefault(key, {})[view] = Stored(value, sequence, kept)

    def _remove(self, view: str, key: str) -> bool:
        del self.items[key][view]  # the item stays: it may be another view's as well
        return True

    def _pages(self, view: str, segment: int, segments: int) -> Iterable[list[tuple[str, Stored]]]:
        found = [(key, views[view]) for key, views in sorted(self.items.items()) if view in views][segment::segments]
        return (found[start : start + PAGE] for start in range(0, len(found), PAGE))


class MemoryControls(MemoryValues):
    """Control items by view, with the revisions given out and the schemas recorded."""

    def __init__(self) -> None:
        super().__init__()
        self._revisions: dict[str, int] = {}

    async def read_controls(self, views: Iterable[str]) -> dict[str, Control]:
        """The control items of several views; a view that was never pushed has none."""
        return {view: self.controls[view] for view in views if view in self.controls}

    async def read_sequence(self, view: str) -> int | None:
        """The newest sequence that a push of the view was given; None where there never was one."""
        return self.controls[view].sequence if view in self.controls else None

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
        now, before = clock(), self.controls.get(view)
        if before is not None:
            is_held = before.lease_until >= now and before.lease_owner != owner
            if is_held or before.lane not in {None, lane}:
                return None
        found = before or Control(sequence=sequence_before_first(clock))
        until = round(now + seconds, 3)
        self.controls[view] = replace(
            found,
            sequence=found.sequence + 1,
            lane=lane,
            lease_owner=owner,
            lease_until=until,
            cursor=found.cursor if keep_cursor else None,
        )
        return replace(found, sequence=found.sequence + 1, lease_owner=owner)

    async def renew_lease(
        self, view: str, *, sequence: int, seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Hold a lease for `seconds` more, or give it up with 0, the open mark staying. Raises `LeaseLost`."""
        until = round(clock() + seconds, 3) if seconds else 0.0
        self.controls[view] = replace(self._leased(view, sequence, running=True), lease_until=until)

    async def declare_push(self, view: str, *, sequence: int, owner: str, known: bool = True) -> None:
        """Set the open mark of a push that is about to write. Raises `LeaseLost`."""
        found = replace(self._leased(view, sequence, owner=owner, running=True), open=True)
        self.controls[view] = replace(found, declared=sequence, declared_by=owner) if known else found

    async def raise_sequence(self, view: str, *, sequence: int, to: int, owner: str | None = None) -> None:
        """Have the next push write above a sequence, and give the lease up. Raises `LeaseLost`."""
        found = self._leased(view, sequence, owner=owner)
        self.controls[view] = replace(found, sequence=max(sequence, to), lease_until=0.0)

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
        found = self._leased(view, sequence, owner=owner)
        self.controls[view] = replace(
            found,
            cursor=cursor or found.cursor,
            watermark=watermark,
            features=schema_of(features),
            closed=sequence,
            open=False,
            lease_until=0.0,
        )

    async def mark_purged(self, view: str, *, sequence: int) -> None:
        """Record up to which sequence tombstones are gone; needs no lease."""
        self.controls[view] = replace(self.controls[view], swept=sequence)

    async def give_to_lane(self, view: str, lane: str, *, found: Control) -> bool:
        """Make a lane the owner of a view's values, under a new sequence; False where the control item has changed."""
        now, owned_from = self.controls.get(view), found.sequence + 1
        if now is None or (now.sequence, now.lane) != (found.sequence, found.lane):
            return False
        self.controls[view] = replace(
            now,
            lane=lane,
            sequence=owned_from,
            owned_from=owned_from,
            open=False,
            lease_until=0.0,
            cursor=None,
            watermark=None,
        )
        return True

    async def remove_control(self, view: str, *, sequence: int) -> bool:
        """Remove the control item of a view that no lane owns; False where it has changed."""
        found = self.controls.get(view)
        if found is None or (found.lane, found.sequence) != (NO_LANE, sequence):
            return False
        del self.controls[view]
        return True

    async def take_revisions(self, view: str, features: Sequence[Column], *, count: int) -> Revisions:
        """Give out revisions higher than any before, and record the schema. Raises `OtherLane`."""
        before = self.controls.get(view)
        refuse_other_lane(before, view, DIRECT)
        schema = schema_of(features)
        found = before or Control(sequence=sequence_before_first())
        first = self._revisions.get(view, time.time_ns() // 1000) + 1
        self._revisions[view] = first + count - 1
        schemas = tuple(dict.fromkeys((*found.schemas, schema)))
        self.controls[view] = replace(found, lane=DIRECT, features=found.features or schema, schemas=schemas)
        return Revisions(sequence=found.sequence, first=first)

    async def move_direct_watermark(self, view: str, *, to: int) -> None:
        """Move the watermark of a direct view forward; never back."""
        found = self.controls.get(view)
        if found is not None and found.lane == DIRECT and (found.watermark is None or found.watermark < to):
            self.controls[view] = replace(found, watermark=to)

    async def move_stream_watermark(self, view: str, *, owner: str, to: int) -> bool:
        """Move the watermark of a stream's view while it is idle; False where another stream owns it, or it runs."""
        found = self.controls.get(view)
        if found is None or found.lane != STREAM or not found.lease_owner.startswith(f"{owner} "):
            return False
        if found.open or found.closed != found.sequence or found.watermark is None or found.watermark >= to:
            return False
        self.controls[view] = replace(found, watermark=to)
        return True

    def _leased(self, view: str, sequence: int, *, owner: str | None = None, running: bool = False) -> Control:
        """The control item of a push that holds the lease; `running` asks that it has not given it up."""
        found = self.controls.get(view)
        if (
            found is None
            or found.sequence != sequence
            or (owner is not None and found.lease_owner != owner)
            or (running and not found.lease_until > 0)
        ):
            raise LeaseLost(f"view {view}: another push took over from sequence {sequence}")
        return found


class MemoryStore(MemoryControls):
    """The whole port in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._once: dict[str, tuple[Remembered, int]] = {}

    async def claim_once(self, key: str, *, digest: str, orders: str, expires: int, now: int) -> Remembered | None:
        """Take a key until a time in seconds; returns what is remembered where somebody holds it at `now`."""
        if key in self._once and self._once[key][1] >= now:
            return self._once[key][0]
        self._once[key] = Remembered(digest=digest, orders=orders, results=None), expires
        return None

    async def keep_results(self, key: str, results: str) -> None:
        """Remember what became of the request, unless that is known already."""
        remembered, expires = self._once[key]
        if remembered.results is None:
            self._once[key] = replace(remembered, results=results), expires

    async def forget_expired(self, key: str, *, at: int) -> bool:
        """Remove a key whose time is over at a moment in seconds; False where it is not."""
        is_over = key in self._once and self._once[key][1] < at
        if is_over:
            del self._once[key]
        return is_over


def schema_of(features: Iterable[Column]) -> tuple[Column, ...]:
    """The schema as a control item keeps it: names and types, without descriptions."""
    return tuple(Column(feature.name, feature.type, "") for feature in features)
