"""What the store refuses for what is in a row is that row's own fault in every lane, and costs the other rows nothing."""

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest

from tailrace.store.direct.sender import Sender, Unknown
from tailrace.store.dynamodb.calls import store_error
from tailrace.store.dynamodb.conditional_writes import CANCELED, CONDITION_FAILED
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import Patience
from tailrace.store.lease import Sequenced, seconds_since_boot
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import Refused, Stale
from tailrace.store.writer import write_push

PUSH = Sequenced(view="visits", sequence=5, lease_seconds=60)
OWN_FAULT = ("413", "ItemCollectionSizeLimitExceededException", "SerializationException", "ValidationException")
BAD, GOOD = "document|3:bad", "document|4:good"


class Refusing:
    """A store that refuses whatever has the key `BAD` in it."""

    table = "visits"

    def __init__(self, error):
        self.error, self.calls = error, 0

    def be_patient(self):
        return Patience(attempts=1)

    async def call(self, operation, request, **_):
        self.calls += 1
        if operation == "GetItem":
            return {"Item": {"sequence": {"N": "5"}}}
        if BAD in str(request):
            raise self.error
        return {}


async def pushed(client, writes):
    rows = [(BAD, b"1"), (GOOD, b"2")]
    outcome = await write_push(DynamoStore(client), rows, PUSH, writes=writes, in_flight=1)
    return outcome.written, [(key, reason.partition(":")[0]) for key, reason in outcome.failed]


ROWS = [OrderedValue(view="visits", item_key=key, value=b"1", order=Order(1, 1), sequence=5) for key in (BAD, GOOD)]


async def sent(client, *, in_transactions):
    return await Sender(DynamoStore(client), in_transactions).write(ROWS, until=seconds_since_boot() + 60)


@pytest.mark.parametrize("code", OWN_FAULT)
@pytest.mark.parametrize("writes", ["transactions", "updates"])
def test_a_push_writes_all_rows_but_the_one_that_the_store_refuses(code, writes):
    assert asyncio.run(pushed(Refusing(store_error(code, "no")), writes)) == (1, [(BAD, code)])


@pytest.mark.parametrize("code", OWN_FAULT)
@pytest.mark.parametrize("in_transactions", [True, False], ids=["transactions", "updates"])
def test_a_direct_write_of_a_row_that_the_store_refuses_is_refused_for_good(code, in_transactions):
    client = Refusing(store_error(code, "no"))

    assert asyncio.run(sent(client, in_transactions=in_transactions)) == [Refused("no"), None]


@pytest.mark.parametrize("code", ["InternalServerError", "Unreachable", "AccessDeniedException", CANCELED])
def test_what_may_pass_or_concerns_all_is_not_a_rows_own_fault(code):
    error = store_error(code, "away", {"CancellationReasons": [{"Code": "TransactionConflict"}]})
    bad, good = asyncio.run(sent(Refusing(error), in_transactions=False))

    assert (type(bad), good) == (Unknown, None)


class Canceling(Refusing):
    """A store that cancels its first transaction for reasons of its rows, and takes whatever comes after."""

    def __init__(self, *codes):
        super().__init__(store_error(CANCELED, "no", {"CancellationReasons": [{"Code": code} for code in codes]}))

    async def call(self, operation, request, **_):
        self.calls += 1
        if operation == "TransactWriteItems" and self.calls == 1:
            raise self.error
        assert request
        return {}


def test_a_reason_that_is_not_known_is_no_verdict_and_each_row_is_tried_by_itself():
    client = Canceling("RequestLimitExceeded", "None")

    assert asyncio.run(sent(client, in_transactions=True)) == [None, None]
    assert client.calls == 3  # the transaction, and a request for each row


@pytest.mark.parametrize(("code", "is_slower"), [("ThrottlingError", True), ("None", False)])
def test_a_store_that_throttles_is_sent_less_also_where_it_has_a_newer_value(code, is_slower):
    client: Any = Canceling("ConditionalCheckFailed", code)

    async def room_after():
        sender = Sender(DynamoStore(client), transactions=True)
        stale, written = await sender.write(ROWS, until=seconds_since_boot() + 60)
        return stale, written, sender.turns.room(1.0)

    stale, written, room = asyncio.run(room_after())

    assert (type(stale), written) == (Stale, None)
    assert (room < math.inf) is is_slower


class WithItems(Refusing):
    """A store that has an item of every key, and throttles the first change of one."""

    def __init__(self):
        super().__init__(store_error("ThrottlingException", "slower"))
        self.asked: list[str] = []

    def be_patient(self):
        return Patience(attempts=3)

    async def call(self, operation, request, **_):
        if operation == "GetItem":
            return {"Item": {"sequence": {"N": "5"}}}
        asked = " ".join([operation, *(kind for action in request.get("TransactItems", ())[1:] for kind in action)])
        self.asked.append(asked)
        if "Put" in asked:
            reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}]
            raise store_error(
                CANCELED if "Transact" in asked else CONDITION_FAILED, "", {"CancellationReasons": reasons}
            )
        if len(self.asked) == 2:
            raise self.error
        return {}


@pytest.mark.parametrize(
    ("writes", "asked"),
    [
        ("transactions", ["TransactWriteItems Put", "TransactWriteItems Update", "TransactWriteItems Update"]),
        ("updates", ["PutItem", "UpdateItem", "UpdateItem"]),
    ],
)
def test_a_key_that_has_an_item_is_not_asked_again_whether_it_is_new(writes, asked):
    client: Any = WithItems()
    push = replace(PUSH, new_items=True)

    outcome = asyncio.run(write_push(DynamoStore(client), [(GOOD, b"1")], push, writes=writes, in_flight=1))

    assert (outcome.written, client.asked) == (1, asked)
