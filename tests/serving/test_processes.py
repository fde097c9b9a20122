"""`python -m serving`: worker processes on one port, started again when they die and stopped with their parent."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime

import psutil
import pytest

from serving import ServingError, run
from serving.access.key_file import add_key
from tests.serving.test_tls import make_certificate


@pytest.fixture
def serve(settings, store):
    """Start readers of two workers; each with its first line. What still runs is stopped at the end."""
    processes = []

    def start(*options, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
        environment |= {"TAILRACE_HOME": str(settings.home), "TAILRACE_STORE_TABLE": settings.store.table} | variables
        command = [sys.executable, "-m", "serving", "--port", "0", "--workers", "2", *options]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline()

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def served(serve):
    """A running reader of two workers, and its address."""
    process, line = serve("--local")
    assert line.startswith("serving features on http://127.0.0.1:"), process.stderr.read()
    return process, line.split()[3]


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


def test_a_reader_with_keys_answers_their_holders_and_writes_a_line_for_others(serve, tmp_path):
    path = tmp_path / "keys.json"
    key, _ = add_key(path, "ranker", scopes=["read:ranker"], created=datetime.now(UTC), expires=None)
    process, line = serve(TAILRACE_READER_KEYS=str(path))
    request = urllib.request.Request(line.split()[3] + "/features")

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=10)
    request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert "ranker" in json.load(answer)["services"]

    host, port = line.split()[3].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as garbled:
        garbled.sendall(b"GET /health HTTP/1.1\r\nAuthorization: Bearer " + key.encode() + b"\x00\r\n\r\n")
        assert b"400" in garbled.recv(100)

    process.terminate()
    assert process.wait(20) == 0
    written = process.stderr.read()
    assert "Error handling request" in written
    assert key[-20:] not in written
    [audit] = [json.loads(one) for one in written.splitlines() if one.startswith("{")]
    assert audit["why"].startswith("nobody is named")


@pytest.mark.parametrize(
    ("options", "said"),
    [([], "serving: nobody could ask this reader"), (["--local", "--host", "0.0.0.0"], "--local answ")],
)
def test_a_reader_that_everybody_could_ask_is_not_started(serve, options, said):
    process, line = serve(*options)

    assert line == ""
    assert process.wait(20) == 1
    [told] = process.stderr.read().splitlines()
    assert said in told


@pytest.mark.slow
def test_headers_that_do_not_end_are_cut_after_ten_seconds(served):
    _, address = served
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\n")

        assert slow.recv(1) == b""


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


def test_a_reader_with_a_certificate_tells_an_address_of_https(serve, tmp_path):
    files = make_certificate(tmp_path)
    variables = {"TAILRACE_READER_TLS_CERT": str(files.certificate), "TAILRACE_READER_TLS_KEY": str(files.key)}

    _, line = serve("--local", **variables)

    address = line.split()[3]
    assert address.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context(cafile=files.certificate)
    with urllib.request.urlopen(address + "/health", timeout=10, context=trusting) as answer:
        assert json.load(answer) == {"status": "alive"}
