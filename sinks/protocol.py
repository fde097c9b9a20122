"""How a push goes: its steps in order, and what it makes of what it finds. Plain Python, with neither Spark nor a store.

`push` yields one step after the other and is sent each one's answer. `sinks/push.py` does the steps for real; the model
in `tests/sinks/publisher_model.py` does them in memory, with crashes and late awakenings between any two.

Why no write of an old push can spoil the store, however late it arrives: a push records the keys that it is about to
write, then has the store confirm that its lease still stands (`Declare`), and only then writes. So every write that may
be under way belongs to recorded keys, and the next push writes all of those anew, under its higher sequence.
"""

from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import Any

from online.codec import meaning
from online.control import Control, Cursor

NOTHING_NEW = "nothing new"
CHANGES = "changes"
FIRST_LOAD = "first load"
SNAPSHOT = "snapshot"

# What becomes of a key.
WRITE = "write"
REMOVE = "remove"
SUPPRESS = "suppress"

LEFT_OPEN = "the first load was left open"
CONTROL_LOST = "the store holds values, but its control item is gone"
NEW_FEATURES = "the published features changed"


Image = tuple[int, bool, bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a push goes about it, why not by changes, and which keys of earlier pushes it writes in any case."""

    how: str
    suppress: bool
    why: str | None = None
    open_keys: Any = None


@dataclass(frozen=True, slots=True)
class TakeLease:
    """Answer: the control item as it was found, with the sequence that this push writes under."""


@dataclass(frozen=True, slots=True)
class ReadTarget:
    """Answer: gold's newest version as a cursor. Read under the lease, or a push that waited would take gold back."""


@dataclass(frozen=True, slots=True)
class CheckFeed:
    """Answer: why gold's change feed does not lead from one cursor to the other; None where it does."""

    since: Cursor
    until: Cursor


@dataclass(frozen=True, slots=True)
class LookForValues:
    """Answer: whether the store holds values of this view."""


@dataclass(frozen=True, slots=True)
class ReadOpenKeys:
    """Answer: the keys recorded under sequences after one, or where that is None, under those never confirmed."""

    after: int | None


@dataclass(frozen=True, slots=True)
class FindChanges:
    """Answer: one decision per key, to be recorded and written; an error where the breaker holds it back."""

    plan: Plan
    since: Cursor | None
    until: Cursor


@dataclass(frozen=True, slots=True)
class Record:
    """Append what is about to be written to the history."""

    sequence: int
    changes: Any


@dataclass(frozen=True, slots=True)
class Declare:
    """Have the store confirm, after the record and before the first write, that the lease still stands."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Write:
    """Write; every write carries the sequence. Answer: what became of it, once every write was acknowledged."""

    sequence: int
    changes: Any


@dataclass(frozen=True, slots=True)
class Confirm:
    """Close the history of this sequence."""

    sequence: int
    outcome: Any


@dataclass(frozen=True, slots=True)
class Close:
    """Move cursor and watermark, clear the open mark and give up the lease, if it still stands."""

    sequence: int
    cursor: Cursor


Step = (
    TakeLease
    | ReadTarget
    | CheckFeed
    | LookForValues
    | ReadOpenKeys
    | FindChanges
    | Record
    | Declare
    | Write
    | Confirm
    | Close
)


def push() -> Generator[Step, Any, tuple[Plan, Any]]:
    """One push of one view; returns its plan and what became of it, None where there was nothing to write."""
    found: Control = yield TakeLease()
    target: Cursor = yield ReadTarget()
    plan = yield from planned(found, target)
    outcome = None
    if plan.how != NOTHING_NEW:
        changes = yield FindChanges(plan, found.cursor, target)
        yield Record(found.sequence, changes)
        yield Declare(found.sequence)
        outcome = yield Write(found.sequence, changes)
        yield Confirm(found.sequence, outcome)
    yield Close(found.sequence, target)
    return plan, outcome


def planned(found: Control, target: Cursor) -> Generator[Step, Any, Plan]:
    """Plan by what the control item says: by changes where they lead to the target, else by a snapshot.

    An open mark that was found set belongs to a push that may still have writes under way: then nothing is suppressed,
    and its keys are written with the rest.
    """
    if found.cursor is None:
        open_keys = yield ReadOpenKeys(found.closed)
        if found.open or open_keys:
            return Plan(SNAPSHOT, suppress=False, why=LEFT_OPEN, open_keys=open_keys)
        if (yield LookForValues()):
            return Plan(SNAPSHOT, suppress=False, why=CONTROL_LOST)
        return Plan(FIRST_LOAD, suppress=False)
    open_keys = (yield ReadOpenKeys(found.closed)) if found.open else None
    lost = NEW_FEATURES if found.cursor.fingerprint != target.fingerprint else (yield CheckFeed(found.cursor, target))
    if lost:
        return Plan(SNAPSHOT, suppress=not found.open, why=lost, open_keys=open_keys)
    if found.cursor == target and not open_keys:
        return Plan(NOTHING_NEW, suppress=True)
    return Plan(CHANGES, suppress=not found.open, open_keys=open_keys)


def fold(images: Collection[Image]) -> tuple[bytes | None, bytes | None]:
    """What a key had before its first change and has after its last, by images in any order.

    An image is (version, whether it is the one before the change, packed value); within a version, the one before
    comes first. `sinks.net_changes` does the same for many keys in Spark.
    """
    first, last = (pick(images, key=lambda image: (image[0], not image[1])) for pick in (min, max))
    return first[2] if first[1] else None, None if last[1] else last[2]


def decide(was: bytes | None, now: bytes | None, *, suppress: bool) -> str:
    """What becomes of a key, by its packed values: what the store has and what gold has, None where that is nothing."""
    if suppress and (was is None) == (now is None) and (was is None or now is None or meaning(was) == meaning(now)):
        return SUPPRESS
    return REMOVE if now is None else WRITE
