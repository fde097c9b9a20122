"""Traffic of different worth and length in one process: none of it keeps the other out, and its memory is bounded."""

import asyncio
import socket
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.app import make_app
from serving.common import loop
from serving.http import admission
from serving.http.admission import BODIES_AT_ONCE, Pool
from serving.telemetry.metrics import AT_ONCE, Counters, SharedMetrics
from tailrace.store import embedded
from tests.serving.conftest import direct_log, entity_keys
from tests.serving.odd import PATIENCE_SECONDS, answers_to, asked, listening, message
from tests.serving.write.conftest import RELEVANCE, of

SMALL = orjson.dumps({"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0"]}})
WIDE = {
    "features": ["document_activity", "document_recent", "document_profile"],
    "entities": {"document_id": [f"d{i}" for i in range(5_000)]},
}
LARGE = orjson.dumps(WIDE)  # with an answer of more than 4 MB, which the kernel takes for a client
NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
LAST = b"Connection: close"
PATIENT = b"Tailrace-Budget-Ms: 60000"


@pytest.fixture
def crowd(store, runner, definitions, behind):
    """A reader on its own connections, and its counters; it ends before a proxy that it asks."""
    sites = []

    def start(url="", *, at_once=64):
        counters = Counters(SharedMetrics(1))
        app = make_app(
            replace(definitions, views=definitions.views | {RELEVANCE.name: RELEVANCE}),
            url=url or embedded.store_url(store.settings),
            region=store.settings.store.region,
            table=store.settings.store.table,
            limits=replace(store.settings.reader, at_once=at_once, access_log="off"),
            local=True,
            counters=counters,
            direct=direct_log(store.settings),
        )
        sites.append(listening(app))
        return runner.run(sites[-1].__aenter__()), counters

    yield start
    for site in sites:
        runner.run(site.__aexit__(None, None, None))


async def until(happened):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not happened():  # noqa: ASYNC110 - the reader is looked at from outside
            await asyncio.sleep(0.01)


def at_once(counters):
    return sum(one[0] for series, one in counters.shared.totals().items() if series[0] == AT_ONCE)


async def send_without_reading(port, request):
    """A client that asks and takes nothing."""
    ours = socket.socket()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    ours.setblocking(False)
    await asyncio.get_running_loop().sock_connect(ours, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(ours, request)
    return ours


def test_writes_that_wait_turn_no_read_away(crowd, runner, behind):
    held = asyncio.Event()

    async def hold_writes(_, operation, body):
        if operation in {"UpdateItem", "PutItem", "TransactWriteItems"}:
            await held.wait()

    port, counters = crowd(behind(hold_writes).url, at_once=2)
    write = asked(orjson.dumps({"view": "relevance", "entities": [of("d1")]}), LAST, path=b"/v1/write")

    async def go():
        writes = [asyncio.create_task(answers_to(port, write)) for _ in range(5)]
        await until(lambda: sum(one.done() for one in writes) == 3)  # for which there was no place
        reads = [(await answers_to(port, asked(SMALL, LAST)))[0].status for _ in range(4)]
        refused = sorted(one.result()[0].status for one in writes if one.done())
        held.set()
        return reads, refused, sorted([(await one)[0].status for one in writes])

    reads, refused, writes = runner.run(go())

    assert reads == [200] * 4
    assert refused == [503] * 3
    assert writes == [200] * 2 + [503] * 3
    assert at_once(counters) == 0


def test_reads_that_wait_turn_no_write_away(crowd, runner, behind):
    held = asyncio.Event()

    async def hold_reads(_, operation, body):
        if operation == "BatchGetItem" and entity_keys(body):
            await held.wait()

    port, _ = crowd(behind(hold_reads).url, at_once=2)
    write = asked(orjson.dumps({"view": "relevance", "entities": [of("d1")]}), LAST, path=b"/v1/write")

    async def go():
        reads = [asyncio.create_task(answers_to(port, asked(SMALL, LAST, PATIENT))) for _ in range(4)]
        await until(lambda: sum(one.done() for one in reads) == 2)
        [written] = await answers_to(port, write)
        held.set()
        await asyncio.gather(*reads)
        return written.status

    assert runner.run(go()) == 200


def test_answers_that_nobody_takes_hold_their_part_and_no_small_request_waits_for_them(crowd, runner, monkeypatch):
    monkeypatch.setattr(admission, "LARGE_AT_ONCE", 2**22)  # of which each of these takes all
    port, counters = crowd(at_once=1)

    async def go():
        stuck = await send_without_reading(port, asked(LARGE, PATIENT))
        await until(lambda: at_once(counters) == 1)
        in_line = asyncio.create_task(answers_to(port, asked(LARGE, PATIENT, LAST)))
        [refused] = await answers_to(port, asked(LARGE, b"Tailrace-Budget-Ms: 300", LAST))
        small = [(await answers_to(port, asked(SMALL, LAST)))[0].status for _ in range(3)]
        before = in_line.done()
        stuck.close()
        [answer] = await in_line
        return refused, small, before, answer

    refused, small, before, answer = runner.run(go())

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert small == [200] * 3
    assert not before
    assert (answer.status, len(answer.body) > 2**22) == (200, True)
    assert at_once(counters) == 0


def test_bodies_on_their_way_are_bounded_and_small_ones_still_come(crowd, runner, monkeypatch):
    monkeypatch.setattr("serving.http.admission.BODY_SECONDS", PATIENCE_SECONDS)
    port, _ = crowd()
    most = BODIES_AT_ONCE * 3 // 4 // 2**20

    async def go():
        begun = asked(b"{", b"Content-Length: 1048576")
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(most)]
        for _, outgoing in slow:
            outgoing.write(begun)
        await asyncio.sleep(0.2)
        [refused] = await answers_to(port, begun.replace(b"Content", LAST + b"\r\nContent"))
        whole = asked(SMALL, LAST)
        [small] = await answers_to(port, whole[:-5], whole[-5:])
        for _, outgoing in slow:
            outgoing.close()
        return refused.status, small.status

    assert runner.run(go()) == (503, 200)


@pytest.fixture
def sliced(monkeypatch):
    """Have every answer made in slices from now on, in a world without time."""
    monkeypatch.setattr("serving.engine.time.time_ns", lambda: 1_772_355_600_000_000_000)

    def begin():
        monkeypatch.setattr(admission, "LARGE_BYTES", 0)
        monkeypatch.setattr(loop.Sliced, "rows", 7)
        monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
        monkeypatch.setattr("serving.answers.ROWS_WRITTEN_TOGETHER", 0)

    return begin


FORMS = ["application/json", "application/vnd.tailrace.columns+json", "application/vnd.apache.arrow.stream"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("times", [True, False])
def test_an_answer_in_slices_is_the_one_that_is_made_at_once(store, reader, definitions, sliced, form, times):  # noqa: PLR0917 - fixtures
    view, rows = definitions.views["document_activity"], 40
    for number in range(0, rows, 3):
        store.put(view, {"document_id": f"d{number}"}, {"views_24h": number}, as_of=NINE)
    older = (*view.features[:2],)
    store.push(view, watermark=NINE, features=older)
    store.put(view, {"document_id": "d1"}, {older[0].name: 5}, as_of=NINE, features=older)
    ids = [f"d{number}" for number in (*range(rows), 3, 3, 0)]
    body = {"features": ["document_activity", "edit_trend"], "entities": {"document_id": ids}, "times": times}

    def answer():
        async def send():
            async with reader.client.post("/get-online-features", json=body, headers={"Accept": form}) as response:
                assert response.status == 200
                return await response.read()

        return reader.runner.run(send())

    whole = answer()
    sliced()

    assert answer() == whole


def test_others_are_answered_while_a_large_answer_is_made(crowd, runner, monkeypatch):
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    turns = []
    begin, end = loop.Sliced.begin, loop.Sliced.end

    async def begin_and_tell(self):
        await begin(self)
        turns.append(self)

    def end_and_tell(self):
        turns.clear()
        end(self)

    monkeypatch.setattr(loop.Sliced, "begin", begin_and_tell)
    monkeypatch.setattr(loop.Sliced, "end", end_and_tell)
    port, _ = crowd()

    async def go():
        large, beside = asyncio.create_task(answers_to(port, asked(LARGE, PATIENT, LAST))), 0
        while not large.done():
            is_on = bool(turns)
            await answers_to(port, message(LAST, path=b"/health"))
            beside += is_on and bool(turns)
        return large.result()[0].status, beside

    status, beside = runner.run(go())

    assert status == 200
    assert beside >= 5


ACTIONS = st.lists(st.tuples(st.sampled_from(["take", "give", "cancel", "late"]), st.integers(1, 12)), max_size=30)


@given(ACTIONS)
def test_a_pool_gives_out_what_it_has_in_the_order_in_which_it_was_asked(actions):
    asyncio.run(act(Pool(10), actions))


async def act(pool, actions):
    """Take, give back and give up at random: what is held and what is free are always all there is."""
    taking = []
    for action, amount in actions:
        if action == "take":
            taking.append(asyncio.create_task(pool.take(amount, within=PATIENCE_SECONDS)))
        elif action == "late":
            taking.append(asyncio.create_task(pool.take(amount, within=-1)))
        elif action == "give" and (ended := next((one for one in taking if has(one)), None)):
            taking.remove(ended)
            pool.give(ended.result())
        elif action == "cancel" and taking:
            taking[amount % len(taking)].cancel()
        for _ in range(amount % 3):
            await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    waiting = [one for one in taking if not one.done()]
    assert pool.free + sum(one.result() for one in taking if has(one)) == 10
    assert pool.waiting == len(waiting)
    assert pool.free >= 0
    for one in taking:
        one.cancel()
    await asyncio.gather(*taking, return_exceptions=True)


def test_a_small_part_waits_behind_a_large_one_that_came_first():
    async def go():
        pool = Pool(10)
        await pool.take(6, within=PATIENCE_SECONDS)
        taking = [asyncio.create_task(pool.take(amount, within=PATIENCE_SECONDS)) for amount in (8, 2)]
        await asyncio.sleep(0)
        waiting = pool.waiting
        pool.give(6)
        return waiting, await asyncio.gather(*taking)

    assert asyncio.run(go()) == (2, [8, 2])


def has(taking):
    return taking.done() and not taking.cancelled() and taking.exception() is None


def test_large_requests_have_one_piece_of_work_in_a_round_of_the_loop_and_take_turns(runner):
    line, pieces, rounds = loop.Line(), [], []

    async def work(wait, kind, times):
        for _ in range(times):
            await wait()
            pieces.append(kind)

    async def go():
        tasks = [asyncio.create_task(work(line.turn, "read", 2)) for _ in range(3)]
        tasks.append(asyncio.create_task(work(line.slice, "slice", 4)))
        given_up = asyncio.create_task(line.turn())
        await asyncio.sleep(0)
        given_up.cancel()
        while not all(task.done() for task in tasks):
            before = len(pieces)
            await asyncio.sleep(0)
            rounds.append(len(pieces) - before)

    runner.run(go())

    assert max(rounds) == 1
    assert sorted(pieces) == ["read"] * 6 + ["slice"] * 4
    assert pieces[:8] == ["slice", "read"] * 4
