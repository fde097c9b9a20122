"""The control item of a view, kept in the store itself: lease, sequence, open mark, cursor, watermark, and its lane.

A store that was lost or swapped has no control item, which means a first load, whatever the lake says.
`tailrace.store.transitions` says how it may change.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tailrace.definitions import BATCH
from tailrace.errors import ConflictError
from tailrace.schemas.tables import Column

# In place of a lane: the view is being removed, and no lane writes it.
NO_LANE = "dropped"


class LeaseLost(ConflictError):
    """Another push took the view over; what this one still writes is refused."""


class OtherLane(ConflictError):
    """A view's values are another lane's to write; the message says which, and how they change hands."""

    retryable = False


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """How far gold has been pushed: the table, its version, the commit that made it, and the schema of the values."""

    table_id: str
    version: int
    fingerprint: str
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control item as it was read; `watermark` is the as-of that the store's values hold for, in microseconds.

    `open` says that a push began to write and none since has ended: then `declared` is its sequence, and `declared_by` the
    owner of its lease. `closed` is the sequence of the last that ended. `swept` is one up to which tombstones have been
    removed. `features` is the schema of the values; those of a direct view have several,
    `schemas`, and the one in `features` is no more than one of them. `lane` is whose the values are, and
    `owned_from` the sequence from which on they are, where another lane had them before.
    """

    sequence: int = 0
    open: bool = False
    cursor: Cursor | None = None
    watermark: int | None = None
    closed: int | None = None
    declared: int | None = None
    declared_by: str | None = None
    swept: int | None = None
    features: tuple[Column, ...] = ()
    schemas: tuple[tuple[Column, ...], ...] = ()
    lane: str | None = None
    owned_from: int | None = None
    lease_owner: str = ""
    lease_until: float = 0.0


def control_from(fields: Mapping[str, Any]) -> Control:
    """The control item that has these fields; others than those of `Control` are left out."""
    return Control(**{name: fields[name] for name in FIELDS if name in fields})


FIELDS = tuple(field.name for field in dataclasses.fields(Control))


def known_schemas(control: Control) -> tuple[tuple[Column, ...], ...]:
    """Every schema that the control item says values were written under, each once."""
    return tuple(dict.fromkeys(schema for schema in (*control.schemas, control.features) if schema))


def sequence_before_first(clock: Callable[[], float] = time.time) -> int:
    """Where a new control item's sequence starts: the clock's milliseconds.

    One that was lost with its store had less, and so has everything that was sent under it.
    """
    return int(clock() * 1000)


def stored_schema(features: Iterable[Column]) -> tuple[Column, ...]:
    """The schema as a control item keeps it: names and types, without descriptions."""
    return tuple(Column(feature.name, feature.type, "") for feature in features)


def owner_of(control: Control) -> str | None:
    """The lane that a view's values are of; None where it may be any. One that was pushed before lanes were recorded
    has a cursor.
    """
    return BATCH if control.lane is None and control.cursor is not None else control.lane


def refuse_other_lane(control: Control | None, view: str, lane: str) -> None:
    """Raise `OtherLane` where a control item says that the view's values are those of another lane than this."""
    owner = None if control is None else owner_of(control)
    if owner not in {None, lane}:
        raise OtherLane(
            f"view {view}: its values in the online store are those of the lane {owner}, and this would write them "
            f"as the lane {lane}; if its definition has changed, `tailrace rebuild {view}` hands it over"
        )
