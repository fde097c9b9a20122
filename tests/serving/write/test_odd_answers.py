"""Whatever the store answers, no request ends as our own fault, and what is logged can be finished by whoever finds it."""

import asyncio
import copy
import hashlib
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.endpoints import answer_of
from serving.read.controls import Controls
from serving.telemetry.metrics import Counters, SharedMetrics
from serving.write.idempotency import Once
from tailrace.definitions import Definitions
from tailrace.errors import TailraceError
from tailrace.store.direct import replay, sender, writer
from tailrace.store.direct.log import Log
from tailrace.store.direct.pending import Written
from tailrace.store.direct.replay import adopt_all
from tailrace.store.direct.writer import DirectWriter
from tailrace.store.dynamodb.calls import StoreClient, control_key, items_answered, store_error, to_binary
from tailrace.store.dynamodb.conditional_writes import order_in, to_attribute
from tailrace.store.dynamodb.connections import Connections, Reply
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import StoreError
from tailrace.store.order import Order
from tailrace.store.pace import USUAL as USUAL_LIMITS
from tailrace.store.port import Stale
from tests.tailrace.store.direct.conftest import VIEWS, key_of, value
from tests.tailrace.store.direct.slow_store import HeldLoop, SlowStore

ITEM = {"pk": {"S": key_of("d1")}, "relevance": to_binary(b"x"), "relevance#s": {"N": "1"}}
ITEM |= {"relevance#t": to_attribute(Order(20, 7))}
SCHEMA = '[["score", "float64"]]'
CONTROL = {
    "pk": {"S": control_key("relevance")},
    "sequence": {"N": "1"},
    "open": {"BOOL": False},
    "lane": {"S": "direct"},
}
CONTROL |= {"watermark": {"N": "10"}, "features": {"S": SCHEMA}, "schemas": {"SS": [SCHEMA]}, "revision": {"N": "1009"}}
CONTROL |= {"lease_owner": {"S": ""}, "lease_until": {"N": "0"}}
RECORDED = {"digest": {"S": ""}, "orders": {"S": "[[10,7],[10,8]]"}, "results": {"S": '[null,{"stored":[10,7]}]'}}
FAILED = "ConditionalCheckFailedException"
CANCELED = {"__type": "TransactionCanceledException", "CancellationReasons": [
    {"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": ITEM},
]}  # fmt: skip
USUAL: dict[str, list[tuple[int, dict[str, Any]]]] = {
    "DescribeTable": [(200, {"Table": {"TableStatus": "ACTIVE"}})],
    "UpdateItem": [(200, {"Attributes": CONTROL | ITEM}), (400, {"__type": FAILED, "Item": ITEM})],
    "TransactWriteItems": [(200, {}), (400, CANCELED)],
    "PutItem": [(400, {"__type": FAILED, "Item": RECORDED}), (200, {})],
    "GetItem": [(200, {"Item": RECORDED})],
    "BatchGetItem": [(200, {"Responses": {"odd": [CONTROL]}, "UnprocessedKeys": {}})],
}

GONE = object()
ODD = st.one_of(
    st.just(GONE),
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.text(max_size=4),
    st.lists(st.one_of(st.none(), st.text(max_size=2)), max_size=2),
    st.integers(-(2**70), 2**70).map(lambda number: {"N": str(number)}),
    st.one_of(st.text(max_size=4), st.sampled_from(["[null]", "[[1,2]]", "[" * 2_000, '{"a":1}'])).map(
        lambda text: {"S": text}
    ),
    st.binary(max_size=20).map(to_binary),
    st.text(max_size=4).map(lambda text: {"B": text}),
    st.sampled_from(
        [{"NULL": True}, {"N": None}, {"S": None}, {"B": None}, {"N": "9" * 39}, {"N": "\u0661"}, {"N": 1}]
    ),
)
ANSWERS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.tuples(st.integers(0, 60), ODD), max_size=2)), min_size=1, max_size=4
)


def places(node):
    """All places below a node, as what they are in and where in it."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for where, child in inner:
        yield node, where
        yield from places(child)


def changed(answer, changes):
    answer = copy.deepcopy(answer)
    for number, odd in changes:
        if not (found := list(places(answer))):
            break
        node, where = found[number % len(found)]
        if odd is GONE:
            del node[where]
        else:
            node[where] = copy.deepcopy(odd)
    return answer


class OddConnections(Connections):
    """Answers each operation's requests in turn, as the answers say."""

    def __init__(self, answers):
        super().__init__("http://127.0.0.1:1", USUAL_LIMITS)
        self.answers = answers
        self.asked: dict[str, int] = defaultdict(int)
        self.digest: Any = None

    async def post(self, headers, body, **_):
        operation = headers["x-amz-target"].partition(".")[2]
        which, changes = self.answers[self.asked[operation] % len(self.answers)]
        self.asked[operation] += 1
        status, answer = USUAL[operation][which % len(USUAL[operation])]
        if operation == "PutItem":
            self.digest = json.loads(body)["Item"]["digest"]
        if answer.get("Item") is RECORDED:
            answer = answer | {"Item": RECORDED | {"digest": self.digest}}
        await asyncio.sleep(0)
        return Reply(status, json.dumps(changed(answer, changes)).encode(), "")


async def everything(client, where, *, transactions):
    """All that a reader asks the store for on account of a direct view."""
    controls = Controls(
        DynamoStore(client), Definitions(views=VIEWS, on_demand={}, services={}), Counters(SharedMetrics(1))
    )
    async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=transactions) as lane:
        once, two = Once(DynamoStore(client), lane), [value("d1", 10, 0.5), value("d2", 10, 0.5)]
        for action in (
            lambda: lane.write([value("d1", 10, 0.5), value("d1", 30, 0.5), value("d2", 10, None)]),
            lambda: once.write(two, key="k", caller="c", body=b""),
            lambda: once.write(two, key="k", caller="c", body=b""),
            lambda: DynamoStore(client).check_lane("relevance", "direct"),
            controls.refresh,
        ):
            try:
                done = await action()
            except TailraceError as error:
                if error.http_status == 500:
                    raise
                continue
            if done:
                assert answer_of("relevance", done).status < 500
        controls.unready()
        controls.facts("relevance", now=1)


@pytest.fixture
def unexpected(monkeypatch):
    """What was logged as a failure that nobody expects."""
    found = []
    for module in (replay, sender, writer):
        monkeypatch.setattr(module, "seconds_since_boot", lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr("os.fdatasync", lambda _: None)
    monkeypatch.setattr(writer.log, "exception", lambda *arguments: found.append(arguments))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=ANSWERS, transactions=st.booleans())
def test_no_answer_of_the_store_is_our_fault_or_stops_the_log(unexpected, answers, transactions):
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        where = Log(folder=Path(folder, "log"), landing=str(Path(folder, "landing")))
        client = StoreClient(OddConnections(answers), url="http://127.0.0.1:1", region="us-east-1", table="odd")
        healthy: Any = SlowStore()
        with asyncio.Runner(loop_factory=HeldLoop) as runner:
            runner.run(everything(client, where, transactions=transactions))
            failures = runner.run(adopt_all(DynamoStore(healthy), VIEWS, where, transactions=transactions))

        assert (unexpected, failures, where.segments) == ([], [], [])


@pytest.fixture
def where(tmp_path):
    return Log(folder=tmp_path / "log", landing=str(tmp_path / "landing"))


def answering(**answers):
    """A client whose store answers operations so, and as usual else."""
    client = StoreClient(OddConnections([(0, [])]), url="http://127.0.0.1:1", region="us-east-1", table="odd")

    async def send(operation, body, **options):
        if operation not in answers:
            return await StoreClient.send(client, operation, body, **options)
        status, answer = answers[operation]
        if status != 200:
            raise store_error(answer["__type"], "", answer | {"status": status})
        return answer

    client.send = send  # type: ignore[method-assign]
    return client


@pytest.mark.usefixtures("unexpected")
@pytest.mark.parametrize("given", [
    {}, {"Attributes": None}, {"Attributes": []}, {"Attributes": {}}, {"Attributes": {"revision": {"N": "9"}}},
    *({"Attributes": {"sequence": {"N": "1"}, "revision": odd}} for odd in (
        None, {}, {"N": None}, {"N": 9}, {"N": "nine"}, {"N": "-1"}, {"N": "0"}, {"N": str(2**64)}, {"S": "9"},
    )),
    {"Attributes": {"sequence": {"N": "-1"}, "revision": {"N": "9"}}},
])  # fmt: skip
def test_what_the_store_gave_no_order_for_is_refused_before_it_is_logged(where, given):
    async def go():
        async with DirectWriter(
            DynamoStore(answering(UpdateItem=(200, given))), where, lambda: VIEWS, transactions=False
        ) as lane:
            with pytest.raises(StoreError) as refusal:
                await lane.write([value("d1", 10, 0.5)])
            return refusal.value.code

    with asyncio.Runner(loop_factory=HeldLoop) as runner:
        assert runner.run(go()) == "Unreadable"
    assert where.segments == []


@pytest.mark.usefixtures("unexpected")
@pytest.mark.parametrize("failed", [{}, {"Item": None}, {"Item": {}}, {"Item": []}])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_store_that_gives_no_old_item_with_a_failed_condition_is_asked_for_it(where, failed, recorded):
    digest = {"digest": {"S": hashlib.sha256(b"").hexdigest()}}
    answers = {"PutItem": (400, {"__type": FAILED} | failed)}
    answers |= {"GetItem": (200, {"Item": RECORDED | digest} if recorded else {})}

    async def go():
        client = answering(**answers)
        async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=False) as lane:
            two = [value("d1", 10, 0.5), value("d2", 10, 0.5)]
            return await Once(DynamoStore(client), lane).write(two, key="k", caller="c", body=b"")

    with asyncio.Runner(loop_factory=HeldLoop) as runner:
        if recorded:
            assert runner.run(go()) == [Written(Order(10, 7), None), Written(Order(10, 8), Stale(Order(10, 7)))]
        else:
            with pytest.raises(StoreError, match="Idempotency-Key"):
                runner.run(go())


@pytest.mark.parametrize("unprocessed", [{}, {"UnprocessedKeys": None}, {"UnprocessedKeys": {}},
                                         {"UnprocessedKeys": {"odd": None}}, {"UnprocessedKeys": {"odd": {"Keys": None}}}])  # fmt: skip
def test_no_unprocessed_keys_are_none_however_a_store_says_so(unprocessed):
    items = {"Responses": {"odd": [ITEM]}}

    assert items_answered(items | unprocessed, "odd") == ({key_of("d1"): ITEM}, [])


@pytest.mark.usefixtures("unexpected")
@pytest.mark.parametrize("reasons", [None, [], "text", ["ConditionalCheckFailed", "None"],
                                     [{"Code": "ConditionalCheckFailed", "Item": None}, None]])  # fmt: skip
def test_a_canceled_transaction_whose_reasons_say_little_is_looked_into(where, reasons):
    canceled = (400, {"__type": "TransactionCanceledException", "CancellationReasons": reasons})

    async def go():
        client = answering(TransactWriteItems=canceled)
        async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=True) as lane:
            done = await lane.write([value("d1", 10, 0.5), value("d2", 10, 0.5)])
            return [type(one.result) in {Stale, type(None)} for one in done]

    with asyncio.Runner(loop_factory=HeldLoop) as runner:
        assert runner.run(go()) == [True, True]


@pytest.mark.parametrize(
    "odd", [None, {}, {"B": None}, {"B": "!"}, to_binary(b"short"), to_binary(b"\xff" * 16), {"S": "x"}]
)
def test_an_order_that_no_value_can_have_is_none(odd):
    assert order_in({"relevance#s": {"N": "1"}, "relevance#t": odd}, "relevance", 1) is None
