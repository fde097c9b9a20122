"""`python -m serving`: worker processes on one port, started again when they die and stopped with their parent."""

import signal
import socket

import psutil
import pytest

from serving import ServingError, run
from tests.serving.processes import served, until


@pytest.fixture
def reader_of_two(settings, store, tmp_path):
    with served(settings, tmp_path) as running:
        yield running


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_stops_all(reader_of_two, stop):
    workers = reader_of_two.workers()
    assert reader_of_two.get("/health") == (200, {"status": "alive"})

    reader_of_two.process.send_signal(stop)

    assert reader_of_two.process.wait(20) == 0
    assert len(workers) == 2
    assert [worker for worker in workers if worker.is_running()] == []
    assert reader_of_two.errors == ""


def test_a_worker_that_hangs_keeps_no_new_connection_waiting(reader_of_two):
    hanging, _ = reader_of_two.workers()
    hanging.suspend()
    try:
        answers = [reader_of_two.get("/health") for _ in range(20)]  # each on a connection of its own
    finally:
        hanging.resume()

    assert answers == [(200, {"status": "alive"})] * 20


@pytest.mark.slow
def test_a_dead_worker_is_started_again(reader_of_two):
    first, second = reader_of_two.workers()

    first.kill()

    until(lambda: len(alive := reader_of_two.workers()) == 2 and first not in alive)
    assert second in reader_of_two.workers()
    assert reader_of_two.get("/health") == (200, {"status": "alive"})
    assert f"worker {first.pid} ended with exit code -9" in reader_of_two.errors


@pytest.mark.slow
def test_workers_do_not_outlive_a_parent_that_is_killed(reader_of_two):
    workers = reader_of_two.workers()

    reader_of_two.process.kill()

    _, left = psutil.wait_procs(workers, timeout=10)
    assert left == []


def test_a_port_that_is_taken_is_refused(settings, store):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port}.*choose another"):
            run(settings, port=port, workers=1, local=True)


@pytest.mark.parametrize(
    ("override", "words"), [({"workers": 0}, "at least 1"), ({"port": 70_000}, "70000"), ({"port": -1}, "-1")]
)
def test_what_cannot_be_served_is_refused(settings, override, words):
    with pytest.raises(ServingError, match=words):
        run(settings, **{"port": 0, "workers": 1, "local": True} | override)
