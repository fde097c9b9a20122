"""What a ranker gets while the store is slow, forgetful or failing."""

import asyncio
import itertools
from datetime import UTC, datetime
from functools import partial

import orjson
import pytest
from aiohttp import web

from serving.read.store_reads import Fetches, Views
from serving.telemetry.metrics import Counters, SharedMetrics
from tailrace.shipped.actor_activity import actor_activity
from tailrace.store.dynamodb.calls import read_request
from tailrace.store.dynamodb.store import DynamoStore
from tests.serving.conftest import entity_keys

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
ACTORS = [f"a{number}" for number in range(150)]
ASKED = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ACTORS}}
FIRST = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ACTORS[:1]}}
BOTH = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0", "a149"]}}
PATIENT = {"Tailrace-Budget-Ms": "8000"}
HURRIED = {"Tailrace-Budget-Ms": "300"}
THROTTLED = {
    "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "message": "slow down",
}
FAILED = {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "try again"}


@pytest.fixture(autouse=True)
def two_of_the_actors(store):
    for actor in ("a0", "a149"):
        store.put(actor_activity, {"actor_id": actor}, {"events_7d": 7}, as_of=NINE)


@pytest.fixture
def read_behind(behind, start_reader, definitions):
    """A reader whose reads of entities misbehave, and the proxy that counts them."""

    def start(misbehave, **allowed):
        async def of_entities(request, operation, body):
            keys = entity_keys(body)
            return await misbehave(keys) if keys else None

        proxy = behind(of_entities)
        return start_reader(definitions, proxy.url, **allowed), proxy

    return start


def reads_of(proxy):
    return [keys for _, body in proxy.asked if (keys := entity_keys(body))]


async def hang(_):
    await asyncio.sleep(30)


async def until(happened):
    while not happened():  # noqa: ASYNC110 - both sides of the exchange are looked at from outside
        await asyncio.sleep(0.01)


def after(calls, misbehave, *, times=10**9):
    """Let some calls through, then misbehave, and let the later ones through."""
    numbers = itertools.count()

    async def at_times(keys):
        return await misbehave(keys) if calls <= next(numbers) < calls + times else None

    return at_times


def answering(status, body):
    async def answer(_):
        return web.json_response(body, status=status)

    return answer


def test_what_the_store_tells_in_time_is_answered_and_the_rest_timed_out(read_behind):
    async def hang_at_the_second_hundred(keys):
        return await hang(keys) if len(keys) == 50 else None

    reader, _ = read_behind(hang_at_the_second_hundred)

    statuses = reader.statuses(json=ASKED, headers=HURRIED)

    assert statuses == ["PRESENT"] + ["NOT_FOUND"] * 99 + ["TIMEOUT"] * 50


def test_a_request_that_names_no_budget_has_the_readers(read_behind):
    reader, _ = read_behind(hang, budget_ms=200)

    assert reader.statuses(json=FIRST) == ["TIMEOUT"]


def test_a_value_made_of_one_that_timed_out_timed_out(read_behind):
    reader, _ = read_behind(hang)
    asked = {"features": ["edit_trend"], "entities": {"document_id": ["d1"]}}

    assert reader.statuses(json=asked, headers=HURRIED) == ["TIMEOUT"]


def test_what_was_given_up_is_read_again_for_the_next_request(read_behind):
    reader, proxy = read_behind(after(0, hang, times=1))

    assert reader.statuses(json=FIRST, headers=HURRIED) == ["TIMEOUT"]
    assert reader.statuses(json=FIRST, headers=PATIENT) == ["PRESENT"]
    assert len(reads_of(proxy)) == 2


def test_what_was_given_up_a_moment_ago_is_read_again_too(store):
    async def twice():
        fetches, views = Fetches(DynamoStore(store.client), Counters(SharedMetrics(1))), ("actor_activity",)
        wanted: dict[Views, list[str]] = {views: ["actor|2:a0"]}
        now = asyncio.get_running_loop().time()
        given_up = await fetches.fetch(wanted, deadline=now)
        return given_up[views], (await fetches.fetch(wanted, deadline=now + 8))[views]

    given_up, read = store.runner.run(twice())

    assert given_up.untold == {"actor|2:a0"}
    assert list(read.items) == ["actor|2:a0"]


@pytest.mark.parametrize("budget", ["", "0", "-1", "soon", "nan", "60001", "inf"])
def test_a_budget_that_is_none_is_refused(reader, budget):
    headers = {"Tailrace-Budget-Ms": budget}
    status, answer = reader.send("POST", "/get-online-features", json=FIRST, headers=headers)

    assert (status, "Tailrace-Budget-Ms" in answer["detail"]) == (400, True)


async def tell_the_first(store, keys):
    """The real answer about the first key, and the others left unprocessed."""
    rest = {store.client.table: {"Keys": [{"pk": {"S": key}} for key in keys[1:]]}}
    told = await store.client.send("BatchGetItem", asking(store, keys[:1]))
    return web.json_response(told | {"UnprocessedKeys": rest})


def test_keys_left_unprocessed_are_asked_for_again(store, read_behind):
    reader, proxy = read_behind(after(0, partial(tell_the_first, store), times=1))

    assert reader.statuses(json=BOTH, headers=PATIENT) == ["PRESENT", "PRESENT"]
    assert [len(keys) for keys in reads_of(proxy)] == [2, 1]


def test_what_was_told_before_the_store_failed_is_answered(store, read_behind):
    async def tell_the_first_and_fail(keys):
        return await (tell_the_first(store, keys) if len(keys) == 2 else answering(500, FAILED)(keys))

    reader, _ = read_behind(tell_the_first_and_fail)

    assert reader.statuses(json=BOTH, headers=HURRIED) == ["PRESENT", "TIMEOUT"]


def asking(store, keys):
    return orjson.dumps(read_request(store.client.table, keys, ("actor_activity",), consistent=False))


def test_keys_that_stay_unprocessed_timed_out_and_are_not_called_unknown(store, read_behind):
    async def process_nothing(keys):
        rest = {store.client.table: {"Keys": [{"pk": {"S": key}} for key in keys]}}
        return web.json_response({"Responses": {}, "UnprocessedKeys": rest})

    reader, proxy = read_behind(process_nothing)

    assert reader.statuses(json=FIRST, headers=PATIENT) == ["TIMEOUT"]
    assert len(reads_of(proxy)) == 6  # the first call and the five that a reader may spend before it earned any


@pytest.mark.parametrize(
    ("status", "body"), [(500, FAILED), (400, THROTTLED), (200, [])], ids=["failed", "throttled", "unreadable"]
)
def test_a_failure_that_passes_is_not_noticed(read_behind, status, body):
    reader, proxy = read_behind(after(0, answering(status, body), times=1))

    assert reader.statuses(json=FIRST, headers=PATIENT) == ["PRESENT"]
    assert len(reads_of(proxy)) == 2


def test_a_store_that_fails_is_told_of_and_asked_a_tenth_more_at_most(read_behind):
    reader, proxy = read_behind(answering(500, FAILED))

    for _ in range(100):
        status, answer = reader.send("POST", "/get-online-features", json=FIRST, headers=PATIENT)
        assert (status, "try again" in answer["detail"]) == (503, True)

    assert 100 < len(reads_of(proxy)) <= 100 + 10 + 5


def test_a_part_that_failed_leaves_the_others_their_values(read_behind):
    async def fail_at_the_second_hundred(keys):
        return web.json_response(FAILED, status=500) if len(keys) == 50 else None

    reader, _ = read_behind(fail_at_the_second_hundred)

    statuses = reader.statuses(json=ASKED, headers=HURRIED)

    assert statuses == ["PRESENT"] + ["NOT_FOUND"] * 99 + ["TIMEOUT"] * 50


def test_a_read_that_takes_longer_than_most_is_made_again(read_behind):
    reader, proxy = read_behind(after(64, hang, times=1))
    for _ in range(64):
        assert reader.statuses(json=FIRST, headers=PATIENT) == ["PRESENT"]

    assert reader.statuses(json=FIRST, headers=PATIENT) == ["PRESENT"]
    assert 66 <= len(reads_of(proxy)) <= 65 + 6 + 5


def test_a_key_that_several_requests_want_at_once_is_read_once(read_behind):
    held = asyncio.Event()

    async def hold(_):
        await held.wait()

    reader, proxy = read_behind(hold)

    async def both():
        asked = [FIRST | {"entities": {"actor_id": actors}} for actors in (["a0", "a1"], ["a149", "a0"])]
        answers = [
            asyncio.create_task(reader.exchange("POST", "/get-online-features", json=one, headers=PATIENT))
            for one in asked
        ]
        await until(lambda: len(reads_of(proxy)) == 2)
        held.set()
        return [answer["results"][-1]["values"] for _, answer in await asyncio.gather(*answers)]

    assert reader.runner.run(both()) == [[7, None], [7, 7]]
    assert [len(keys) for keys in reads_of(proxy)] == [2, 1]


def test_more_requests_than_there_are_places_for_are_refused_and_told_when_to_come_again(read_behind):
    held = asyncio.Event()

    async def hold(_):
        await held.wait()

    reader, _ = read_behind(hold, at_once=2)

    async def crowd():
        async def ask():
            async with reader.client.post("/get-online-features", json=FIRST, headers=PATIENT) as response:
                return response.status, response.headers.get("Retry-After")

        asking = [asyncio.create_task(ask()) for _ in range(10)]
        await until(lambda: sum(one.done() for one in asking) == 8)
        held.set()
        return sorted(await asyncio.gather(*asking)), await ask()

    answers, later = reader.runner.run(crowd())

    assert answers == [(200, None)] * 2 + [(503, "1")] * 8
    assert later == (200, None)
