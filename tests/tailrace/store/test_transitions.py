"""Every transition of a control item, from every state that it distinguishes, in every store as the table says."""

import asyncio
from itertools import product

import pytest

from tailrace.definitions import BATCH, DIRECT, STREAM
from tailrace.schemas.tables import Column, Type
from tailrace.store.control import (
    NO_LANE,
    TAKE_REVISIONS,
    TRANSITIONS,
    Control,
    ControlField,
    Cursor,
    Given,
    control_from,
)
from tailrace.store.dynamodb.calls import KEY, control_key
from tailrace.store.dynamodb.control_item import KINDS
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.memory import MemoryStore, after, allows

FEATURES = (Column("views", Type.INT64, ""),)
CURSOR = Cursor(table_id="7f3a", version=12, fingerprint="bc2bee73e2fd2b86", commit="c1")
OWNER = "ada"
USUAL = {"sequence": 5, "open": False, "lease_until": 3_000.0, "lease_owner": OWNER}
STATES = {  # values of a field that some check tells apart; None where the field is absent
    "sequence": (5, 6),
    "lease_until": (0.0, 1_000.0, 3_000.0),
    "lease_owner": (OWNER, "bob"),
    "lane": (None, BATCH, DIRECT, STREAM, NO_LANE),
    "open": (False, True),
    "closed": (None, 4, 5),
    "watermark": (None, 3, 9, 10),
    "cursor": (None, CURSOR),
}
GIVEN = {
    "owner": OWNER,
    "lane": BATCH,
    "now": 2_000.0,
    "until": 2_060.0,
    "before_first": 1,
    "sequence": 5,
    "declared": 5,
    "declared_by": OWNER,
    "to": 9,
    "watermark": 7,
    "features": FEATURES,
    "cursor": CURSOR,
    "purged": 3,
    "before": BATCH,
    "next": 6,
    "count": 3,
    "schema": FEATURES,
    "start": 100,
    "stream": OWNER[:2],
}
OPTIONAL = ("owner", "before", "cursor", "declared")  # each left out once


def states_of(transition):
    """Every combination of what the transition's checks tell apart, and no item at all."""
    checks = [check for group in transition.when for check in group]
    fields = {check.field for check in checks}
    fields |= {check.operand.name for check in checks if isinstance(check.operand, ControlField)}
    names = sorted(fields & STATES.keys())
    for values in product(*(STATES[name] for name in names)):
        changed = USUAL | dict(zip(names, values, strict=True))
        yield {name: value for name, value in changed.items() if value is not None}
    yield {}


def givens_of(transition):
    operands = [check.operand for group in transition.when for check in group]
    operands += [effect.operand for effect in transition.then]
    named = {operand.name for operand in operands if isinstance(operand, Given)}
    return [GIVEN] + [GIVEN | {name: None} for name in OPTIONAL if name in named]


async def plant(store, view, fields):
    """Have a store hold a control item with these fields."""
    if isinstance(store, MemoryStore):
        store.controls[view] = dict(fields)
        return
    item = {KEY: {"S": control_key(view)}} | {name: KINDS[name].encode(value) for name, value in fields.items()}
    await store._client.call("PutItem", {"TableName": store._client.table, "Item": item})


async def make(store, view, transition, fields, given):
    """Whether a store made a transition, and the control item that it has then."""
    if fields:
        await plant(store, view, fields)
    made = await store.change_control(view, transition, given)
    return made is not None, (await store.read_controls([view])).get(view)


def expected(transition, fields, given):
    is_allowed = allows(transition, fields, given)
    now = after(transition, fields, given) if is_allowed else fields
    control = control_from(now | {"schemas": tuple(now.get("schemas", ()))}) if now else None
    return is_allowed, control


@pytest.fixture(params=[DynamoStore, MemoryStore], ids=lambda kind: kind.__name__)
def run(request):
    """Run a story with a store that is empty."""
    if request.param is MemoryStore:
        return lambda story: asyncio.run(story(MemoryStore()))
    table = request.getfixturevalue("store")
    return lambda story: table.run(lambda client: story(DynamoStore(client)))


@pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda one: one.name)
def test_a_store_makes_a_transition_from_exactly_the_states_that_the_table_allows(run, transition):
    cases = [(fields, given) for fields in states_of(transition) for given in givens_of(transition)]

    async def story(store):
        views = [f"v{number}" for number in range(len(cases))]
        return await asyncio.gather(
            *(make(store, view, transition, *case) for view, case in zip(views, cases, strict=True))
        )

    found = run(story)

    wanted = [expected(transition, *case) for case in cases]
    assert {is_allowed for is_allowed, _ in wanted} == {True, False}
    differing = [(case, one, two) for case, one, two in zip(cases, found, wanted, strict=True) if one != two]
    assert differing == []


def test_revisions_go_on_from_those_that_were_given_out(run):
    async def story(store):
        given = [await store.change_control("v", TAKE_REVISIONS, GIVEN) for _ in range(2)]
        return [(one["sequence"], one["revision"]) for one in given]

    assert run(story) == [(1, 103), (1, 106)]


def test_the_fields_of_a_control_item_are_those_that_a_store_keeps():
    kept = {field.name for field in Control.__dataclass_fields__.values()}
    changed = {effect.field for transition in TRANSITIONS for effect in transition.then}

    assert kept == set(KINDS)
    assert changed - kept == {"revision"}  # which is given out and never read
