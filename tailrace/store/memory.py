"""The store port in the memory of one process: for tests without a store, and what a second backend has to write.

No method waits for anything, which makes each of them one step, as a request is one in a store.
"""

import operator
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from tailrace.store.control import (
    Act,
    Check,
    Control,
    ControlField,
    Fields,
    Given,
    How,
    LeaseLost,
    Returned,
    Transition,
    control_from,
    is_left_out,
)
from tailrace.store.failures import PATIENCE_SECONDS, Patience
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import (
    TOMBSTONE,
    ControlStore,
    Item,
    KeptOut,
    OrderedOutcome,
    Remembered,
    Row,
    Stale,
    Store,
    Turn,
)

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
    controls: dict[str, Fields] = field(default_factory=dict)

    async def ensure_ready(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Nothing has to be made."""

    async def item_count(self) -> int:
        """How many items there are."""
        return len(self.items)

    async def has_items(self) -> bool:
        """Whether there are items of any entity."""
        return bool(self.items)

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

    async def write_together(self, view: str, rows: Sequence[Row], *, sequence: int, as_new: bool = False) -> KeptOut:
        """Write values if the push still holds its lease, all or none; returns the rows that are kept out."""
        if view not in self.controls or self.controls[view]["sequence"] != sequence:
            raise LeaseLost(f"view {view}: another push took over from sequence {sequence}")
        late = {
            place: Stale()
            for place, (key, _) in enumerate(rows)
            if (key in self.items if as_new else self._is_late(view, key, sequence))
        }
        if not late:
            for key, value in rows:
                self._put(view, key, value, sequence)
        return late

    async def write_ordered(self, rows: Sequence[OrderedValue], *, within: float | None = None) -> OrderedOutcome:  # noqa: ARG002 - of connections
        """Write values, all or none, unless there is a later order, or a later owner of the view."""
        orders = [self._order_of(row) for row in rows]
        late = {
            place: Stale(before)
            for place, (row, before) in enumerate(zip(rows, orders, strict=True))
            if self._is_late(row.view, row.item_key, row.sequence) or (before is not None and before > row.order)
        }
        if late:
            return OrderedOutcome(late)
        for row in rows:
            self._put(row.view, row.item_key, row.value, row.sequence, row.order)
        return OrderedOutcome({}, orders[0] if len(rows) == 1 else None)

    def _order_of(self, row: OrderedValue) -> Order | None:
        """The order of the value that is there, where it is of the same owner of the view."""
        stored = self._stored(row.view, row.item_key)
        return stored.order if stored is not None and stored.sequence == row.sequence else None

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


class MemoryControls(MemoryValues, ControlStore):
    """Control items by view, as the fields that they have."""

    async def read_controls(self, views: Iterable[str]) -> dict[str, Control]:
        """The control items of several views; a view that was never pushed has none."""
        return {view: control_in(self.controls[view]) for view in views if view in self.controls}

    async def read_sequence(self, view: str) -> int | None:
        """The newest sequence that a push of the view was given; None where there never was one."""
        return self.controls[view]["sequence"] if view in self.controls else None

    async def change_control(
        self,
        view: str,
        transition: Transition,
        given: Fields,
        *,
        once: bool = False,  # noqa: ARG002 - nothing fails here
    ) -> Fields | None:
        """Make a transition in one step; returns the fields that it asks for, None where it is not allowed."""
        before = self.controls.get(view, {})
        if not allows(transition, before, given):
            return None
        now = after(transition, before, given)
        if now:
            self.controls[view] = now
        else:
            self.controls.pop(view, None)
        return before if transition.returns is Returned.BEFORE else now


class MemoryStore(MemoryControls, Store):
    """The whole port in memory."""

    requests = bytes_sent = 0  # nothing is sent

    def __init__(self) -> None:
        super().__init__()
        self._once: dict[str, tuple[Remembered, int]] = {}

    def be_patient(self) -> Patience:
        """Nothing is ever tried again."""
        return Patience(attempts=1)

    def prepare_read(self, views: Sequence[str], keys: Sequence[str]) -> bytes:
        """A request for the values of some views."""
        return orjson.dumps([list(views), list(keys)])

    async def send_read(self, request: bytes, *, turn: Turn | None = None) -> tuple[dict[str, Item], list[str]]:
        """The items by key, every one of them."""
        views, keys = orjson.loads(request)
        if turn is not None:
            await turn()
        found = {key: self.items[key] for key in keys if key in self.items}
        return {key: {view: item[view].value for view in views if view in item} for key, item in found.items()}, []

    def values_in(
        self, items: Mapping[str, Item], keys: Collection[str], view: str
    ) -> tuple[list[bytes], list[bool] | None]:
        """The values of a view in items that were read, in the order of the keys; then of each key whether it has one."""
        values = [items.get(key, {}).get(view, TOMBSTONE) for key in keys]
        present = [value for value in values if value != TOMBSTONE]
        return present, None if len(present) == len(values) else [value != TOMBSTONE for value in values]

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

    async def scan_records(self) -> AsyncIterator[tuple[list[str], list[str]]]:
        """The views that have a control item, and the once-only keys."""
        yield list(self.controls), list(self._once)


def control_in(fields: Fields) -> Control:
    """The control item that has these fields; schemas in a fixed order."""
    return control_from(dict(fields) | {"schemas": tuple(sorted(fields.get("schemas", ()), key=str))})


COMPARISONS: Mapping[How, Callable[[Any, Any], bool]] = {
    How.EQUAL: operator.eq,
    How.BELOW: operator.lt,
    How.ABOVE: operator.gt,
    How.BEGINS: str.startswith,
}


def value_of(operand: Any, fields: Fields, given: Fields) -> Any:
    """What an operand stands for."""
    if isinstance(operand, Given):
        return given.get(operand.name)
    return fields.get(operand.name) if isinstance(operand, ControlField) else operand


def allows(transition: Transition, fields: Fields, given: Fields) -> bool:
    """Whether an item with these fields, none where there is no item, may make a transition."""
    groups = ([one for one in group if is_checked(one, given)] for group in transition.when)
    return all(any(holds(one, fields, given) for one in group) for group in groups if group)


def is_checked(one: Check, given: Fields) -> bool:
    """Whether a check has what it needs."""
    return one.how is How.UNCHANGED or not is_left_out(one.operand, given)


def holds(one: Check, fields: Fields, given: Fields) -> bool:
    """Whether one check holds; what is absent is neither equal to anything nor below or above it."""
    actual, operand = fields.get(one.field), value_of(one.operand, fields, given)
    if one.how is How.UNCHANGED:
        return bool(actual == operand)
    if one.how is How.ABSENT or actual is None:
        return one.how is How.ABSENT and actual is None
    return one.how is How.THERE or (operand is not None and COMPARISONS[one.how](actual, operand))


def after(transition: Transition, fields: Fields, given: Fields) -> dict[str, Any]:
    """The fields of an item once it has made a transition; none where it went."""
    if transition.removes:
        return {}
    changed = dict(fields)
    for effect in transition.then:
        if is_left_out(effect.operand, given):
            continue
        operand, before = value_of(effect.operand, fields, given), fields.get(effect.field)
        if effect.act is Act.REMOVE:
            changed.pop(effect.field, None)
        elif effect.act is Act.GROW:
            changed[effect.field] = (value_of(effect.start, fields, given) if before is None else before) + operand
        elif effect.act is Act.GAIN:
            changed[effect.field] = frozenset([*(before or ()), operand])
        elif effect.act is Act.SET or before is None:
            changed[effect.field] = operand
    return changed
