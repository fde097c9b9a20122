"""The control item of a view, kept in the store itself: lease, sequence, open mark, cursor, watermark and lane, with every
way in which it may change.

A store that was lost or swapped has no control item, which means a first load, whatever the lake says.

A control item is idle, leased, or open, which is leased and writing; each of them belongs to a lane or to none.
`TRANSITIONS` is its whole life, as data: when each transition may happen, and what it changes. Every store makes these. The
store in memory does what they say in plain Python (`tailrace.store.memory`), and a test compares what other stores make of
each with that. A value that is not given is neither checked nor changed: a push that does not name its owner is known only
by its sequence.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tailrace.definitions import BATCH, DIRECT, STREAM
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


Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """A value that comes with the request."""

    name: str


@dataclass(frozen=True, slots=True)
class ControlField:
    """The value of another field of the item."""

    name: str


class How(Enum):
    """How a field is compared."""

    ABSENT = auto()
    THERE = auto()
    EQUAL = auto()
    BELOW = auto()
    ABOVE = auto()
    BEGINS = auto()
    UNCHANGED = auto()  # equal, or as absent as what is given


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on one field."""

    field: str
    how: How
    operand: Any = None


class Act(Enum):
    """What becomes of a field."""

    SET = auto()
    KEEP = auto()  # as it is, or set where it is absent
    GROW = auto()  # by `operand`, from `start` where it is absent
    GAIN = auto()  # a member of a set
    REMOVE = auto()


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of one field."""

    field: str
    act: Act
    operand: Any = None
    start: Any = None


class Returned(Enum):
    """Which fields the store returns where it made the transition."""

    NOTHING = auto()
    BEFORE = auto()
    AFTER = auto()


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One change of a control item: of the checks in each group of `when` one has to hold.

    `removes` says that the item goes.
    """

    name: str
    when: tuple[tuple[Check, ...], ...]
    then: tuple[Effect, ...] = ()
    removes: bool = False
    returns: Returned = Returned.NOTHING


def check(field: str, how: How, operand: Any = None) -> tuple[Check, ...]:
    """A check that has to hold by itself."""
    return (Check(field, how, operand),)


OWN_SEQUENCE = check("sequence", How.EQUAL, Given("sequence"))
OWN_LEASE = check("lease_owner", How.EQUAL, Given("owner"))  # two may have one sequence after a control item was lost
NOT_GIVEN_UP = check("lease_until", How.ABOVE, 0)  # what crosses the end of its own push must not take the lease back
FREE = Effect("lease_until", Act.SET, 0)

TAKE_LEASE = Transition(
    name="take the lease",
    when=(
        (
            Check("lease_until", How.ABSENT),
            Check("lease_until", How.BELOW, Given("now")),
            Check("lease_owner", How.EQUAL, Given("owner")),  # an answer was lost, and it takes its own again
        ),
        (Check("lane", How.ABSENT), Check("lane", How.EQUAL, Given("lane"))),
    ),
    then=(
        Effect("sequence", Act.GROW, 1, start=Given("before_first")),
        Effect("open", Act.KEEP, False),
        Effect("lane", Act.SET, Given("lane")),
        Effect("lease_owner", Act.SET, Given("owner")),
        Effect("lease_until", Act.SET, Given("until")),
    ),
    returns=Returned.BEFORE,
)
# Who writes what gold does not have drops the cursor: it would say that the store holds gold's values.
TAKE_LEASE_WITHOUT_CURSOR = Transition(
    name="take the lease and forget the cursor",
    when=TAKE_LEASE.when,
    then=(*TAKE_LEASE.then, Effect("cursor", Act.REMOVE)),
    returns=Returned.BEFORE,
)
RENEW_LEASE = Transition(
    name="renew the lease, or give it up",
    when=(OWN_SEQUENCE, NOT_GIVEN_UP),
    then=(Effect("lease_until", Act.SET, Given("until")),),
)
DECLARE_PUSH = Transition(
    name="declare a push",
    when=(OWN_SEQUENCE, NOT_GIVEN_UP, OWN_LEASE),
    then=(
        Effect("open", Act.SET, True),
        Effect("declared", Act.SET, Given("declared")),
        Effect("declared_by", Act.SET, Given("declared_by")),
    ),
)
RAISE_SEQUENCE = Transition(
    name="raise the sequence",
    when=(OWN_SEQUENCE, OWN_LEASE),
    then=(Effect("sequence", Act.SET, Given("to")), FREE),
)
CLOSE_PUSH = Transition(
    name="close a push",
    when=(OWN_SEQUENCE, OWN_LEASE),
    then=(
        Effect("watermark", Act.SET, Given("watermark")),
        Effect("features", Act.SET, Given("features")),
        Effect("closed", Act.SET, Given("sequence")),
        Effect("open", Act.SET, False),
        FREE,
        Effect("cursor", Act.SET, Given("cursor")),
    ),
)
MARK_PURGED = Transition(
    name="record that tombstones are purged",
    when=(check("sequence", How.THERE),),
    then=(Effect("swept", Act.SET, Given("purged")),),
)
GIVE_TO_LANE = Transition(
    name="give the view to a lane",
    when=(OWN_SEQUENCE, check("lane", How.UNCHANGED, Given("before"))),
    then=(
        Effect("lane", Act.SET, Given("lane")),
        Effect("sequence", Act.SET, Given("next")),
        Effect("owned_from", Act.SET, Given("next")),
        Effect("open", Act.SET, False),
        FREE,
        Effect("cursor", Act.REMOVE),  # what was pushed before is forgotten: the new owner writes everything it has
        Effect("watermark", Act.REMOVE),
    ),
)
REMOVE_CONTROL = Transition(
    name="remove the control item of a view without a lane",
    when=(check("lane", How.EQUAL, NO_LANE), OWN_SEQUENCE),
    removes=True,
)
TAKE_REVISIONS = Transition(
    name="take revisions",
    when=(  # a view that was pushed before lanes were recorded has a cursor
        (Check("lane", How.EQUAL, DIRECT), Check("lane", How.ABSENT)),
        (Check("lane", How.EQUAL, DIRECT), Check("cursor", How.ABSENT)),
    ),
    then=(
        Effect("revision", Act.GROW, Given("count"), start=Given("start")),
        Effect("lane", Act.SET, DIRECT),
        Effect("features", Act.KEEP, Given("schema")),
        Effect("sequence", Act.KEEP, Given("before_first")),
        Effect("open", Act.KEEP, False),
        Effect("lease_owner", Act.KEEP, ""),
        Effect("lease_until", Act.KEEP, 0),
        Effect("schemas", Act.GAIN, Given("schema")),
    ),
    returns=Returned.AFTER,
)
MOVE_DIRECT_WATERMARK = Transition(
    name="move the watermark of a direct view",
    when=(
        check("lane", How.EQUAL, DIRECT),
        (Check("watermark", How.ABSENT), Check("watermark", How.BELOW, Given("to"))),
    ),
    then=(Effect("watermark", Act.SET, Given("to")),),
)
MOVE_STREAM_WATERMARK = Transition(
    name="move the watermark of an idle stream",
    when=(  # the last who took the lease is this stream, and has ended; a micro-batch may begin meanwhile
        check("lane", How.EQUAL, STREAM),
        check("lease_owner", How.BEGINS, Given("stream")),
        check("closed", How.EQUAL, ControlField("sequence")),
        check("open", How.EQUAL, False),
        check("watermark", How.BELOW, Given("to")),
    ),
    then=(Effect("watermark", Act.SET, Given("to")),),
)

TRANSITIONS = (
    TAKE_LEASE,
    TAKE_LEASE_WITHOUT_CURSOR,
    RENEW_LEASE,
    DECLARE_PUSH,
    RAISE_SEQUENCE,
    CLOSE_PUSH,
    MARK_PURGED,
    GIVE_TO_LANE,
    REMOVE_CONTROL,
    TAKE_REVISIONS,
    MOVE_DIRECT_WATERMARK,
    MOVE_STREAM_WATERMARK,
)


def is_left_out(operand: Any, given: Fields) -> bool:
    """Whether a check or an effect needs a value that is not given."""
    return isinstance(operand, Given) and given.get(operand.name) is None
