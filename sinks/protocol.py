"""How a push goes: its steps in order, and what it makes of what it finds. Plain Python, with neither Spark nor a store.

`push` yields one step after the other and is sent each one's answer. `sinks/deeds.py` does the steps for real; the model
in `tests/sinks/publisher_model.py` does them in memory, with crashes and late awakenings between any two.

Why no write of an old push can spoil the store, however late it arrives: a push records the keys that it is about to
write, then has the store set its open mark if its lease still stands (`Declare`), and only then writes. So every write
that may be under way belongs to recorded keys behind an open mark, and the next push writes all of those anew, under its
higher sequence.
"""

from collections.abc import Collection, Generator
from typing import Any

from sinks.steps import (
    CheckFeed,
    Close,
    Confirm,
    Declare,
    FindChanges,
    FindRepairs,
    LookForRecord,
    LookForValues,
    Plan,
    RaiseSequence,
    ReadOpenKeys,
    ReadTarget,
    Record,
    Step,
    TakeLease,
    Write,
)
from tailrace.errors import ConflictError
from tailrace.store.codec import meaning
from tailrace.store.control import Control, Cursor

NOTHING_NEW = "nothing new"
CHANGES = "changes"
FIRST_LOAD = "first load"
SNAPSHOT = "snapshot"
REPAIR = "repair"

# What becomes of a key.
WRITE = "write"
REMOVE = "remove"
SUPPRESS = "suppress"

LEFT_OPEN = "the first load was left open"
HISTORY_LOST = "a push was left open, and the history that says what it wrote is gone"
CONTROL_LOST = "the store holds values, but its control item is gone"
NEW_FEATURES = "the published features changed"


Image = tuple[int, bool, bytes]


STORE_AHEAD = (
    "the store has newer sequences than its control item in {count} rows, as after it was put back from a copy or lost its "
    "control item; the sequence was raised, and the next push writes these rows; push again"
)


CLOCK_BEHIND = "its control item is new, but its history has later sequences than the clock gave it; the sequence was raised, push again"


class StoreAhead(ConflictError):
    """A write under a lease that stands was refused as older than what is there."""


class PushFirst(ConflictError):
    """A repair has to wait for a push: the last one was left open, or there was none."""


def push() -> Generator[Step, Any, tuple[Plan, Any]]:
    """One push of one view; returns its plan and what became of the writes, None where there was none."""
    found: Control = yield TakeLease()
    target: Cursor = yield ReadTarget()
    plan = yield from planned(found, target)
    outcome = None
    if plan.how != NOTHING_NEW:
        changes, count = yield FindChanges(plan, found.cursor, target)
        if count:
            outcome = yield from recorded_and_written(found.sequence, changes, known=plan.why != HISTORY_LOST)
    yield Close(found.sequence, target)
    return plan, outcome


def repair(keys: Any) -> Generator[Step, Any, Any]:
    """Write some keys of one view as gold holds them at the cursor, which stays where it is.

    Returns what became of them; raises `PushFirst` where a push was left open or there was none.
    """
    found: Control = yield TakeLease()
    if found.open or found.cursor is None:
        raise PushFirst("a push was left open, or there was none; run `tailrace run publish`, then repair again")
    changes = yield FindRepairs(keys, found.cursor)
    outcome = yield from recorded_and_written(found.sequence, changes)
    yield Close(found.sequence, found.cursor)
    return outcome


def recorded_and_written(sequence: int, changes: Any, *, known: bool = True) -> Generator[Step, Any, Any]:
    """The order that makes writes safe: recorded, declared, written, confirmed."""
    yield Record(sequence, changes)
    yield Declare(sequence, known)
    outcome = yield Write(sequence, changes)
    if outcome.stale:
        yield RaiseSequence(sequence)
        raise StoreAhead(STORE_AHEAD.format(count=outcome.stale))
    yield Confirm(sequence, outcome)
    return outcome


def planned(found: Control, target: Cursor) -> Generator[Step, Any, Plan]:
    """Plan by what the control item says: by changes where they lead to the target, else by a snapshot.

    An open mark that was found set belongs to a push that may still have writes under way: then nothing is suppressed,
    and its keys are written with the rest.
    """
    if found.open and not (yield from has_record(found)):
        return Plan(SNAPSHOT, suppress=False, why=HISTORY_LOST, open_keys=(yield ReadOpenKeys(found.closed)))
    cursor = found.cursor
    if cursor is None:
        return (yield from first_planned(found))
    open_keys = (yield ReadOpenKeys(found.closed or 0)) if found.open else None
    lost = NEW_FEATURES if cursor.fingerprint != target.fingerprint else (yield CheckFeed(cursor, target))
    if lost:
        return Plan(SNAPSHOT, suppress=not found.open, why=lost, open_keys=open_keys)
    if cursor == target and open_keys is None:
        return Plan(NOTHING_NEW, suppress=True)
    return Plan(CHANGES, suppress=not found.open, open_keys=open_keys)


def has_record(found: Control) -> Generator[Step, Any, bool]:
    """Whether the history tells all that pushes left open wrote.

    It does where the last lease is the one that was declared. A later one may be of code that declares nothing.
    """
    if found.declared is None or found.declared <= (found.closed or 0) or found.declared != found.sequence - 1:
        return False
    recorded: bool = yield LookForRecord(found.declared, found.declared_by)
    return recorded


def first_planned(found: Control) -> Generator[Step, Any, Plan]:
    """Plan where the store has no cursor: nothing was pushed to its end, or the control item is a new one."""
    open_keys = yield ReadOpenKeys(found.closed)
    if found.open or open_keys is not None:
        return Plan(SNAPSHOT, suppress=False, why=LEFT_OPEN, open_keys=open_keys)
    if (yield LookForValues()):
        return Plan(SNAPSHOT, suppress=False, why=CONTROL_LOST)
    return Plan(FIRST_LOAD, suppress=False)


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
