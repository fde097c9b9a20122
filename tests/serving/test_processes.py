"""`python -m serving`: worker processes on one port, started again when they die and stopped with their parent."""

import os
import signal
import socket

import psutil
import pytest

from serving.common.messages import ServingError
from serving.process.supervisor import run_reader
from tests.serving.processes import has_ended, served, until

ALIVE = (200, {"status": "alive"})


@pytest.fixture(scope="module")
def shared(module_store, tmp_path_factory):
    """A reader of two workers; every test leaves it as it was."""
    with served(module_store.settings, tmp_path_factory.mktemp("reader")) as running:
        yield running


def template_of(running):
    """The process that all workers were forked from."""
    [template] = {worker.ppid() for worker in running.workers()}
    return psutil.Process(template)


@pytest.fixture
def reader_of_two(shared):
    until(lambda: shared.metric("tailrace_reader_workers") == len(shared.workers()) == 2)
    return shared


def test_a_signal_from_the_terminal_stops_all(settings, store, tmp_path):
    with served(settings, tmp_path, start_new_session=True) as running:
        workers = running.workers()
        assert running.get("/health") == ALIVE

        os.killpg(running.process.pid, signal.SIGINT)  # as Ctrl-C does: to every process that was started there

        assert running.process.wait(20) == 0

    assert len(workers) == 2
    assert [worker for worker in workers if worker.is_running()] == []
    assert running.errors == ""


def test_a_worker_that_hangs_keeps_no_new_connection_waiting(reader_of_two):
    hanging, _ = reader_of_two.workers()
    hanging.suspend()
    try:
        answers = [reader_of_two.get("/health") for _ in range(20)]  # each on a connection of its own
    finally:
        hanging.resume()

    assert answers == [ALIVE] * 20


def test_a_dead_worker_is_started_again(reader_of_two):
    first, second = reader_of_two.workers()

    first.kill()

    until(lambda: len(alive := reader_of_two.workers()) == 2 and first not in alive)
    assert second in reader_of_two.workers()
    assert reader_of_two.get("/health") == ALIVE
    assert f"worker {first.pid} ended with exit code -9" in reader_of_two.errors


def test_signals_that_are_for_the_parent_do_not_end_what_workers_are_forked_from(reader_of_two):
    template = template_of(reader_of_two)

    for one in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        template.send_signal(one)
    reader_of_two.workers()[0].kill()

    until(lambda: len(reader_of_two.workers()) == 2)
    assert template_of(reader_of_two) == template


def test_where_what_workers_are_forked_from_is_killed_there_are_new_ones_and_the_old_ones_end(reader_of_two):
    before = reader_of_two.workers()
    template = template_of(reader_of_two)

    template.kill()

    until(lambda: len(now := reader_of_two.workers()) == 2 and not set(now) & set(before))
    until(lambda: reader_of_two.get("/health") == ALIVE)
    until(lambda: all(has_ended(one.pid) for one in before))


@pytest.mark.slow
def test_workers_do_not_outlive_a_parent_that_is_killed(settings, store, tmp_path):
    with served(settings, tmp_path) as running:
        workers = running.workers()
        template = template_of(running)

        running.process.kill()

        until(lambda: all(has_ended(one.pid) for one in (*workers, template)))


def test_a_port_that_is_taken_is_refused(settings, store):
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port}.*choose another"):
            run_reader(settings, port=port, workers=1, local=True)


@pytest.mark.parametrize(
    ("override", "words"), [({"workers": 0}, "at least 1"), ({"port": 70_000}, "70000"), ({"port": -1}, "-1")]
)
def test_what_cannot_be_served_is_refused(settings, override, words):
    with pytest.raises(ServingError, match=words):
        run_reader(settings, **{"port": 0, "workers": 1, "local": True} | override)
