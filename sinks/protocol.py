"""The protocol of a push: which steps it takes, in which order, and what it makes of an earlier push that was killed.

`push` and `repair` are generators. They yield a step, such as `Record`, and receive its answer. `sinks.push` performs
the steps with Spark, Delta and the store. A test performs them in memory, and stops and kills pushes between any two.

The order is: take the lease, plan, find the changes, record them in the history, declare the push by the open mark,
write, confirm in the history, close. What a killed push leaves behind:

| killed                      | the next push finds                    | and does                                             |
|-----------------------------|----------------------------------------|------------------------------------------------------|
| after `TakeLease`           | a lease that nobody renews             | waits until it ends, then pushes as always           |
| after `Record`              | recorded keys, no open mark            | ignores the record, as nothing was written. If the   |
|                             |                                        | view has no cursor, writes all of gold (`LEFT_OPEN`) |
| after `Declare`, in `Write` | the open mark; the record names every  | suppresses nothing, and writes the recorded keys     |
| or after `Confirm`          | key that may have been written         | along with its changes                               |
| after `Declare`, and then   | the open mark, and no record that is   | writes all of gold (`HISTORY_LOST`), and does not    |
| the history was lost, or a  | known to be complete                   | name itself as the one whose record is complete      |
| second push was killed      |                                        |                                                      |
| before its own `Declare`    |                                        |                                                      |
| in `Close`                  | the open mark or the new cursor: one   | as after `Confirm`, or as after a push that ended    |
|                             | write sets both                        |                                                      |

A killed or suspended push may still have writes on their way. They are refused: each carries a sequence, and the next
push has a higher one. A removed key keeps its sequence as a tombstone. A suspended push that goes on cannot declare or
close either, as both need its own lease (`LeaseLost`). A push that fails with an error gives its lease up at once.
docs/adr/0007-recorded-before-written.md says why each part is needed.
"""

from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import Any

from tailrace.errors import ConflictError
from tailrace.store.codec import meaning
from tailrace.store.control import Control, Cursor


@dataclass(frozen=True, slots=True)
class Plan:
    """How a push finds its rows, why it cannot go by changes, and which keys of earlier pushes it writes in any case."""

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
class LookForRecord:
    """Answer: whether the history still has the record of a push that was left open.

    `sequence` and `push` are those that the open mark names; `push` is None if the mark names no push.
    """

    sequence: int
    push: str | None


@dataclass(frozen=True, slots=True)
class ReadOpenKeys:
    """Answer: the keys recorded under sequences after one, or where that is None, under those never confirmed; None
    where there are none.
    """

    after: int | None


@dataclass(frozen=True, slots=True)
class FindChanges:
    """Answer: a decision per key, and how many of them are to be written; an error where the breaker holds them back."""

    plan: Plan
    since: Cursor | None
    until: Cursor


@dataclass(frozen=True, slots=True)
class FindRepairs:
    """Answer: what gold holds of some keys at the cursor, to be recorded and written."""

    keys: Any
    at: Cursor


@dataclass(frozen=True, slots=True)
class Record:
    """Append what is about to be written to the history."""

    sequence: int
    changes: Any


@dataclass(frozen=True, slots=True)
class Declare:
    """Set the open mark, after the record and before the first write, if the lease still stands.

    Unless `known`, what earlier open pushes wrote is not all recorded, and stays unknown until a push has ended.
    """

    sequence: int
    known: bool = True


@dataclass(frozen=True, slots=True)
class Write:
    """Write; every write carries the sequence. Answer: what became of it, once every write was acknowledged: `stale`
    says how many were refused because of a higher sequence.
    """

    sequence: int
    changes: Any


@dataclass(frozen=True, slots=True)
class RaiseSequence:
    """Set the control item's sequence to the highest in the store, if the lease still stands, and give the lease up."""

    sequence: int


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
    | LookForRecord
    | ReadOpenKeys
    | FindChanges
    | FindRepairs
    | Record
    | Declare
    | Write
    | RaiseSequence
    | Confirm
    | Close
)


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
    """Whether the history has all that pushes left open wrote.

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
