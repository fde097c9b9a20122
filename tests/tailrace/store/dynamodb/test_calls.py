"""The client against a store that fails, resets, cuts its answers off or cannot be reached."""

import asyncio
import itertools
import socket

import pytest
from aiohttp import web

from tailrace.store import failures
from tailrace.store.dynamodb.calls import open_client
from tailrace.store.dynamodb.connections import Credentials, credentials_for
from tailrace.store.failures import ATTEMPTS, StoreError, delay_after
from tests.tailrace.store.proxy import Proxy

DESCRIBE = "DescribeTable"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(failures, "delay_after", lambda _: 0)


def call_through(store, misbehave, *, times, operation=DESCRIBE, **options):
    """Call through a proxy that misbehaves the first `times`; the answer or error, and the number of requests."""
    left = itertools.count()

    async def at_first(request, asked, body):
        return await misbehave(request) if next(left) < times else None

    async def go():
        async with Proxy(store.url, at_first) as proxy, store.open(proxy.url) as client:
            try:
                answer = await client.call(operation, {"TableName": store.table}, **options)
            except StoreError as error:
                return error, len(proxy.asked)
            return answer, len(proxy.asked)

    return asyncio.run(go())


async def fail(request):
    return web.json_response({"__type": "InternalServerError", "message": "oh"}, status=500)


async def be_no_json(request):
    return web.Response(status=502, text="<html>bad gateway</html>")


async def reset(request):
    request.transport.abort()
    return web.Response()


async def cut_off(request):
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"Table": ')
    request.transport.close()
    return response


async def throttle(request):
    name = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    return web.json_response({"__type": name, "message": "slow down"}, status=400)


async def cut_json(request):
    return web.Response(text='{"Table": ', content_type="application/json")


PASSING = [fail, be_no_json, reset, cut_off, throttle, cut_json]


@pytest.mark.parametrize("misbehave", PASSING)
def test_a_passing_failure_is_tried_again(store, misbehave):
    answer, requests = call_through(store, misbehave, times=3)

    assert answer["Table"]["TableName"] == store.table
    assert requests == 4


@pytest.mark.parametrize("misbehave", PASSING)
def test_a_failure_that_does_not_pass_ends_in_an_error(store, misbehave):
    error, requests = call_through(store, misbehave, times=100)

    assert isinstance(error, StoreError)
    assert str(error).startswith("online store: ")
    assert requests == ATTEMPTS


def test_a_caller_may_try_only_once(store):
    error, requests = call_through(store, fail, times=100, attempts=1)

    assert (error.code, requests) == ("InternalServerError", 1)


def test_a_patient_caller_tries_for_longer_than_a_reader_and_says_for_how_long(store):
    async def go(misbehave, seconds):
        async with Proxy(store.url, misbehave) as proxy:
            opened = open_client(url=proxy.url, region="us-east-1", table=store.table, patience=seconds)
            async with opened as client:
                try:
                    answer = await client.call(DESCRIBE, {"TableName": store.table})
                except StoreError as error:
                    return str(error), len(proxy.asked)
                return answer["Table"]["TableName"], len(proxy.asked)

    left = itertools.count()

    async def at_first(request, asked, body):
        return await throttle(request) if next(left) < 50 else None

    async def always(request, asked, body):
        return await throttle(request)

    told, requests = asyncio.run(go(always, 0.3))

    assert asyncio.run(go(at_first, 60)) == (store.table, 51)
    assert told.endswith(f"slow down; gave up after {requests} attempts in 0.3 s")


@pytest.mark.parametrize("status", [429, 503])
def test_a_store_that_says_too_many_by_its_status_is_throttling_and_tried_again(store, status):
    async def say_too_many(request):
        return web.json_response({"message": "too many"}, status=status)

    _, requests = call_through(store, say_too_many, times=2)

    assert requests == 3


def test_a_request_the_store_refuses_is_not_tried_again(store):
    error, requests = call_through(store, fail, times=0, operation="GetItem")

    assert error.code == "ValidationException"
    assert str(error).startswith("online store: ValidationException: GetItem: ")
    assert requests == 1


def test_a_server_error_of_any_json_is_tried_again(store):
    async def say_nothing(request):
        return web.json_response([], status=503)

    answer, _ = call_through(store, say_nothing, times=1)

    assert answer["Table"]["TableName"] == store.table


def test_an_answer_is_read_from_a_store_that_compresses_where_it_may(store):
    # DynamoDB compresses what a client says it accepts, so a client that does not decompress must not say so.
    async def compress(request):
        response = web.json_response({"Table": {"TableName": "compressed", "padding": "x" * 5_000}})
        response.enable_compression()
        return response

    answer, _ = call_through(store, compress, times=1, attempts=1)

    assert not isinstance(answer, StoreError), answer
    assert answer["Table"]["TableName"] == "compressed"


def test_a_store_that_is_not_there_is_an_error_with_its_address(store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    async def go():
        async with store.open(url) as client:
            await client.call(DESCRIBE, {"TableName": store.table}, attempts=2)

    with pytest.raises(StoreError, match=f"online store: Unreachable: {url}: ") as refusal:
        asyncio.run(go())
    assert refusal.value.code == "Unreachable"


def test_delays_are_random_below_a_bound_that_doubles_up_to_two_seconds():
    for attempt, bound in [(1, 0.1), (2, 0.2), (3, 0.4), (10, 2.0), (60, 2.0)]:
        delays = [delay_after(attempt) for _ in range(300)]

        assert bound * 0.7 < max(delays) <= bound
        assert min(delays) < bound * 0.3


def test_a_store_that_is_not_aws_takes_a_stand_in_unless_names_are_given(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert credentials_for("http://127.0.0.1:8000").current() == Credentials("tailrace", "tailrace")

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    assert credentials_for("http://amazonaws.com.example:8000").current() == Credentials("tailrace", "tailrace")

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert credentials_for("http://127.0.0.1:8000").current() == Credentials("key", "secret", "token")
