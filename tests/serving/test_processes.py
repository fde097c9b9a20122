"""`python -m serving`: worker processes on one port, started again when they die and stopped with their parent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from serving import ServingError, run


@pytest.fixture
def served(settings, store):
    """A running reader of two workers, and its address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    environment |= {"TAILRACE_HOME": str(settings.home), "TAILRACE_STORE_TABLE": settings.store.table}
    command = [sys.executable, "-m", "serving", "--port", "0", "--workers", "2", "--local"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line.startswith("serving features on http://127.0.0.1:"), process.stderr.read()
    yield process, line.split()[3]
    if process.poll() is None:
        process.terminate()
        process.wait(20)
    process.stdout.close()
    process.stderr.close()


def workers_of(process):
    """Its children but for the helper that `multiprocessing` keeps."""
    children = [child for child in psutil.Process(process.pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def ask(address, path):
    with urllib.request.urlopen(address + path, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_stops_all(served, stop):
    process, address = served
    workers = workers_of(process)
    assert ask(address, "/health") == {"status": "alive"}

    process.send_signal(stop)

    assert process.wait(20) == 0
    assert len(workers) == 2
    assert [worker for worker in workers if worker.is_running()] == []
    assert process.stderr.read() == ""


@pytest.mark.slow
def test_a_dead_worker_is_started_again(served):
    process, address = served
    first, second = workers_of(process)

    first.kill()

    deadline = time.monotonic() + 20
    while len(alive := workers_of(process)) < 2 or first.pid in [worker.pid for worker in alive]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert second.pid in [worker.pid for worker in alive]
    assert ask(address, "/health") == {"status": "alive"}


@pytest.mark.slow
def test_workers_do_not_outlive_a_parent_that_is_killed(served):
    process, _ = served
    workers = workers_of(process)

    process.kill()

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
