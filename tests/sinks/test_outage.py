"""A real push whose store is killed under it, and comes back a while later."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace.store import embedded
from tailrace.store.address import Address, read_control
from tests.sinks.publisher import Publisher

DOCUMENTS = 60_000


@pytest.mark.parametrize(
    ("writes", "outage_seconds"),
    [
        pytest.param("transactions", 15, marks=pytest.mark.slow),
        pytest.param("transactions", 60, marks=pytest.mark.soak),
        pytest.param("updates", 20, marks=pytest.mark.soak),
    ],
)
def test_a_push_outlasts_a_store_that_is_away(lake, make_settings, writes, outage_seconds):
    settings = make_settings("outage")
    running = embedded.start(settings)
    # The lease ends during the outage; nobody else takes it.
    address = Address(url=running.url, region="us-east-1", table="outage", in_flight=2, writes=writes, lease_seconds=10)
    publisher = Publisher(lake, address)
    publisher.become(**{f"d{number}": number for number in range(1, DOCUMENTS + 1)})

    def kill_while_it_writes():
        wait_for(lambda: (found := read_control(address, "visits")) and found.open)
        wait_for(publisher.sequences)
        os.kill(running.pid, signal.SIGKILL)
        time.sleep(outage_seconds)
        assert not pushing.done()
        assert embedded.start(settings).url == running.url

    with ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(publisher.push)
        kill_while_it_writes()
        pushed = pushing.result()

    assert (pushed.pushed, pushed.stale) == (DOCUMENTS, 0)
    assert publisher.reconcile() == (0, 0, 0)
    assert publisher.push().how == "nothing new"


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
