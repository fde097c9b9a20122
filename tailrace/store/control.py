"""The control item of a view: lease, sequence, open mark, cursor and watermark, kept in the store itself.

A store that was lost or swapped has no control item, which means a first load, whatever the lake says.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tailrace.errors import ConflictError
from tailrace.schemas.tables import Column


class LeaseLost(ConflictError):
    """Another push took the view over; what this one still writes is refused."""


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


def known_schemas(control: Control) -> tuple[tuple[Column, ...], ...]:
    """Every schema that the control item says values were written under, each once."""
    return tuple(dict.fromkeys(schema for schema in (*control.schemas, control.features) if schema))


def sequence_before_first(clock: Callable[[], float] = time.time) -> int:
    """Where a new control item's sequence starts: the clock's milliseconds.

    One that was lost with its store had less, and so has everything that was sent under it.
    """
    return int(clock() * 1000)
