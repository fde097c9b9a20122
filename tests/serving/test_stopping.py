"""Workers and readers that are stopped while rankers ask: every request that was taken is answered."""

import asyncio
import signal
from datetime import UTC, datetime

import pytest

from tests.serving.processes import PATIENCE_SECONDS, served, until
from tests.serving.rankers import Rankers

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def test_no_request_fails_while_workers_are_stopped_one_after_another(settings, store, tmp_path):
    async def stop_workers(running):
        async with Rankers(running.address).asking(kept=6) as rankers:
            for _ in range(4):
                await rankers.answered(100)
                stopped = running.workers()[0]
                stopped.terminate()
                await asyncio.to_thread(stopped.wait, PATIENCE_SECONDS)
                await asyncio.to_thread(until, lambda: running.metric("tailrace_reader_workers") == 2)
            await rankers.answered(100)
        return rankers

    with served(settings, tmp_path) as running:
        rankers = asyncio.run(stop_workers(running))
        assert running.metric("tailrace_reader_worker_ends_total") == 0
        counted = running.metric('tailrace_reader_requests_total{path="/get-online-features",status="200"}')

    assert (rankers.failures, rankers.refused) == ([], 0)
    assert rankers.answers.total() >= 500
    assert rankers.answers.total() <= counted <= rankers.answers.total() + 7  # which may have been under way at the end
    assert running.errors == ""


@pytest.mark.parametrize("again", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_no_request_that_was_taken_fails_while_the_reader_is_stopped(settings, store, tmp_path, again):
    async def stop_all(running):
        async with Rankers(running.address).asking(kept=6) as rankers:
            await rankers.answered(200)
            running.process.terminate()
            await asyncio.to_thread(running.process.wait, 30)
            refused = rankers.refused
            await asyncio.to_thread(until, lambda: rankers.refused > refused)
        return rankers

    with served(settings, tmp_path) as running:
        rankers = asyncio.run(stop_all(running))

    assert rankers.failures == []
    assert rankers.answers.total() >= 200
    assert (running.process.returncode, running.errors) == (0, "")


def test_a_reader_that_drains_is_not_ready_and_serves_until_it_stops(settings, store, definitions, tmp_path):
    for view in definitions.views.values():
        store.push(view, watermark=NINE)
    with served(settings, tmp_path, workers=1, READER_DRAIN_SECONDS="300") as running:
        assert running.get("/ready")[0] == 200
        running.process.terminate()
        until(lambda: running.get("/ready")[1]["stopping"])
        status, answer = running.get("/ready")
        alive = running.get("/health")
        running.process.send_signal(signal.SIGTERM)  # who asks twice does not want to wait
        ended = running.process.wait(20)

    assert (status, answer["ready"]) == (503, False)
    assert alive == (200, {"status": "alive"})
    assert ended == 0
