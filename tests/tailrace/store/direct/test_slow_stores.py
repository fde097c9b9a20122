"""A store that is slower than what is wanted of it: what was acknowledged lands, and little is sent more than once."""

import asyncio
import os
from collections import Counter
from itertools import count
from types import SimpleNamespace

import pytest

from tailrace.store.direct import replay, sender, writer
from tailrace.store.direct.log import INTENT, Segment
from tailrace.store.direct.sender import Overwritten
from tailrace.store.direct.writer import Busy, DirectWriter
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import StoreError
from tests.tailrace.store.direct.conftest import VIEWS, key_of, lines_in, value
from tests.tailrace.store.direct.slow_store import HeldLoop, SlowStore

DAY = 24 * 60 * 60
VALUES_AT_FIRST = 2_000  # that may be logged before it is known how slow the store is


@pytest.fixture(autouse=True)
def in_the_loops_time(monkeypatch):
    for module in (replay, sender, writer):
        monkeypatch.setattr(module, "seconds_since_boot", lambda: asyncio.get_running_loop().time())
    for name in ("fsync", "fdatasync"):  # time stands still meanwhile, and the test waits
        monkeypatch.setattr(os, name, lambda _: None)


class Callers:
    """Write, and know what was acknowledged."""

    def __init__(self, lane):
        self.lane = lane
        self.acknowledged = []
        self.outcomes: Counter[str] = Counter()

    async def write(self, *values):
        try:
            told = await self.lane.write(values)
        except (Busy, StoreError) as error:
            self.outcomes[getattr(error, "code", "Busy")] += len(values)
            return
        for own, one in zip(values, told, strict=True):
            if one.result is None or isinstance(one.result, Overwritten):
                self.outcomes["WRITTEN"] += 1
                self.acknowledged.append((own.keys["document_id"], one.order))


def run(story, where, store, monkeypatch, *, transactions=False):
    """Let callers do something, and the lane come to rest; returns what is to be looked at."""

    logged: list[bytes] = []
    append = Segment.append

    def count_and_append(segment, lines):
        lines = list(lines)
        logged.extend(line for line in lines if line.startswith(INTENT))
        append(segment, lines)

    monkeypatch.setattr(Segment, "append", count_and_append)

    async def go():
        async with DirectWriter(DynamoStore(store), where, lambda: VIEWS, transactions=transactions) as lane:
            callers = Callers(lane)
            await story(callers)
            left = len(where.segments)
            while list(where.folder.glob("*.log")):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(10)
            return callers, left

    with asyncio.Runner(loop_factory=HeldLoop) as runner:
        callers, left = runner.run(go())
    landed = lines_in(where.landing, "direct_writes/*.jsonl")
    return SimpleNamespace(callers=callers, store=store, landed=landed, logged=len(logged), left=left)


def check(done):
    """Nothing acknowledged is lost, nothing lands twice, and no older value stands over a newer one."""
    landed = Counter((one["keys"]["document_id"], one["revision"]) for one in done.landed)
    assert set(landed.values()) <= {1}
    assert {(document, order.revision) for document, order in done.callers.acknowledged} <= landed.keys()
    for document, order in done.callers.acknowledged:
        assert done.store.held[key_of(document)][0] >= order
    assert done.store.sends <= 1.5 * done.logged


def test_a_bulk_load_into_a_slow_store_is_written_once_and_lands(where, monkeypatch):
    async def story(callers):
        await callers.write(value("first", 10, 0.5))
        loads = [[value(f"d{load}-{i}", 10, 0.5) for i in range(1_000)] for load in range(6)]
        await asyncio.gather(*(callers.write(*load) for load in loads))

    done = run(story, where, SlowStore(latency=0.25), monkeypatch)

    check(done)
    assert done.callers.outcomes["WRITTEN"] >= 1
    assert "first" in {one["keys"]["document_id"] for one in done.landed}


@pytest.mark.parametrize("transactions", [False, True])
@pytest.mark.parametrize("requests", [1, 8])
def test_of_a_key_that_comes_a_thousand_times_the_newest_is_sent(where, requests, transactions, monkeypatch):
    async def story(callers):
        loads = [[value("same", i, 0.5) for i in range(1_000)] for _ in range(requests)]
        neighbours = [[value(f"neighbour-{i}", 10, 0.5)] for i in range(5)]
        await asyncio.gather(*(callers.write(*load) for load in [*loads, *neighbours]))

    done = run(story, where, SlowStore(latency=0.012), monkeypatch, transactions=transactions)

    check(done)
    assert done.callers.outcomes["TooLate"] == 0
    assert done.store.sends <= 2 * (requests + 5)
    assert {f"neighbour-{i}" for i in range(5)} < {one["keys"]["document_id"] for one in done.landed}


async def want(callers, *, every, values, seconds):
    """Write so many values every so many seconds, of 1,000 documents, whatever becomes of them."""
    loop, times = asyncio.get_running_loop(), count(1)
    until, under_way = loop.time() + seconds, set()
    while loop.time() < until:
        at = next(times)
        own = [value(f"d{(at * values + i) % 1_000}", at, 0.5) for i in range(values)]
        task = asyncio.create_task(callers.write(*own))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        await asyncio.sleep(every)
    await asyncio.gather(*under_way)


LOADS = [(20, 50, 120), (0.2, 1, 1_200)]
QUARTER_DAY, WHOLE_DAY = ((0.3, 2, seconds) for seconds in (DAY // 4, DAY))


@pytest.mark.parametrize(
    ("load", "throttles"),
    [
        *((load, throttles) for load in LOADS for throttles in (False, True)),
        pytest.param(QUARTER_DAY, True, marks=pytest.mark.slow),
        *(
            pytest.param(WHOLE_DAY, throttles, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])
            for throttles in (True, False)
        ),
    ],
)
def test_a_store_at_a_tenth_of_what_is_wanted_goes_on_at_its_own_rate(where, throttles, load, monkeypatch):
    per_second, values, seconds = load
    store = SlowStore(latency=0.01, per_second=per_second, throttles=throttles)

    done = run(
        lambda callers: want(callers, every=values / (10 * per_second), values=values, seconds=seconds),
        where,
        store,
        monkeypatch,
    )

    check(done)
    assert len(done.landed) >= per_second * seconds / 4
    assert done.left <= 10  # segments that wait when nothing more is wanted
    assert done.logged <= per_second * seconds + VALUES_AT_FIRST
