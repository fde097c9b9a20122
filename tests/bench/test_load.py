"""The load generator: what counts as an answer, and from when a latency counts."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.load_generator import Load, Tally, at_fixed_rate, measured
from tailrace.store.dynamodb.connections import Reply

ANSWERED = [Reply(200, b"{}", "")]


def loaded(handler, **load):
    """What the generator tells of a server with this handler."""

    async def run():
        app = web.Application()
        app.router.add_post("/", handler)
        server = TestServer(app)
        await server.start_server()
        try:
            spec: dict[str, Any] = {"requests": [["{}"]], "rate": 200, "seconds": 1.0, "warm_up": 0, "in_flight": 2}
            return await measured(Load(url=f"http://127.0.0.1:{server.port}/", **spec | load))
        finally:
            await server.close()

    return asyncio.run(run())


def test_a_server_that_stalls_once_shows_in_every_request_due_meanwhile():
    stalled_until = [0.0]
    asked = []

    async def stall_once(request):
        asked.append(await request.read())
        if len(asked) == 50:
            stalled_until[0] = time.monotonic() + 0.4
        await asyncio.sleep(max(0.0, stalled_until[0] - time.monotonic()))
        return web.json_response({})

    told = loaded(stall_once)

    assert (told["sent"], told["answered"], told["failures"]) == (200, 200, {})
    slow = [latency for latency in told["latencies_ms"] if latency > 100]
    assert len(slow) >= 50  # 300 ms of the stall at 200 a second; a closed loop would show the two under way
    assert max(slow) >= 390


def test_what_holds_up_the_generator_counts_as_latency_of_the_requests_that_were_due():
    async def send(number):
        if number == 10:
            time.sleep(0.3)  # noqa: ASYNC251 - the whole loop is held up, as a busy machine does it
        return ANSWERED

    tally = Tally()
    asyncio.run(at_fixed_rate(tally, send, rate=100, count=40))

    assert tally.sent == 40
    assert sum(latency > 0.1 for latency in tally.latencies) >= 15


def test_requests_are_sent_at_the_rate_whatever_became_of_those_before():
    all_sent = asyncio.Event()
    sent = []

    async def answer_once_all_are_sent(number):
        sent.append((number, time.monotonic()))
        if len(sent) == 30:
            all_sent.set()
        await all_sent.wait()
        return ANSWERED

    tally = Tally()
    asyncio.run(at_fixed_rate(tally, answer_once_all_are_sent, rate=100, count=30))

    assert [number for number, _ in sent] == list(range(30))
    assert len(tally.latencies) == 30
    assert sent[-1][1] - sent[0][1] >= 0.28  # none before it is due


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 503, "text": "busy"}, "status 503: busy"),
        ({"text": '{"statuses":["TIMEOUT"]}'}, "values answered as TIMEOUT"),
    ],
)
def test_what_is_no_answer_has_no_latency_and_is_told(answer, why):
    async def refuse(request):
        return web.Response(**answer)

    told = loaded(refuse, seconds=0.05)

    assert (told["sent"], told["answered"], told["latencies_ms"]) == (10, 0, [])
    assert told["failures"] == {why: 10}


def test_a_connection_that_ends_within_an_answer_is_told():
    async def break_off(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.close()
        return response

    told = loaded(break_off, seconds=0.05)

    [(why, count)] = told["failures"].items()
    assert why == "ConnectionError: closed before the answer was whole"
    assert (count, told["answered"]) == (10, 0)


def test_a_saturated_server_always_has_so_many_requests_under_way():
    under_way, most = [0], [0]

    async def answer(request):
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        await asyncio.sleep(0.01)
        under_way[0] -= 1
        return web.Response(text="x" * 300_000)  # in several pieces

    told = loaded(answer, rate=None, in_flight=5, seconds=0.3)

    assert most == [5]
    assert told["sent"] == told["answered"] >= 5
    assert told["bytes"] == 300_000 * told["answered"]


def test_bodies_of_one_request_are_sent_side_by_side_and_signed_anew():
    asked = []
    both = asyncio.Event()

    async def answer(request):
        asked.append((await request.read(), request.headers["X-Amz-Target"], request.headers["Authorization"]))
        if len(asked) == 2:
            both.set()
        await both.wait()  # one after the other, neither would be answered
        return web.Response(text="{}")

    told = loaded(answer, requests=[["one", "two"]], rate=10, seconds=0.1, signed="us-east-1")

    assert told["answered"] == 1
    assert sorted(body for body, _, _ in asked) == [b"one", b"two"]
    assert {target for _, target, _ in asked} == {"DynamoDB_20120810.BatchGetItem"}
    assert len({authorization for _, _, authorization in asked}) == 2
