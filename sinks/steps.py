"""The steps of a push and what each is answered with; `sinks.protocol` says in which order they come."""

from dataclasses import dataclass
from typing import Any

from tailrace.store.control import Cursor


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
class LookForRecord:
    """Answer: whether the history still has what an open push recorded; `push` names it where its mark does."""

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
