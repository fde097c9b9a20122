"""The transitions of a control item, as data: when each may happen, and what it changes. Every store makes these.

A view's control item is idle, leased, or open, which is leased and writing; each of them belongs to a lane or to none.
`TRANSITIONS` is the whole life of one. `allows` and `after` say what a transition means, in plain Python: the store in
memory makes them so, and a test compares what other stores make of each with that.

A value that is not given is neither checked nor changed: a push that does not name its owner is known only by its
sequence.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tailrace.definitions import DIRECT, STREAM
from tailrace.store.control import NO_LANE

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """A value that comes with the request."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
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
        check("closed", How.EQUAL, Field("sequence")),
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


def value_of(operand: Any, fields: Fields, given: Fields) -> Any:
    """What an operand stands for."""
    if isinstance(operand, Given):
        return given.get(operand.name)
    return fields.get(operand.name) if isinstance(operand, Field) else operand


COMPARISONS: Mapping[How, Callable[[Any, Any], bool]] = {
    How.EQUAL: operator.eq,
    How.BELOW: operator.lt,
    How.ABOVE: operator.gt,
    How.BEGINS: str.startswith,
}


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
