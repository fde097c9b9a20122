"""Processes in the background, and the order in which everything is started and stopped."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from tailrace.local import airflow, stack
from tailrace.local.background import STOPPED, LocalError, Service, find, since_boot, start_service, stop_service
from tailrace.store import embedded

# Tells that it runs, starts a child, and ends when it is told to.
OBEDIENT = "import signal, subprocess, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); print('runs', flush=True); subprocess.run(['sleep', '60'])"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('runs', flush=True); time.sleep(60)"
)


@pytest.fixture
def make_service(tmp_path):
    made = []

    def make(code, *, name="one", stop_seconds=10.0):
        service = Service(
            name=name,
            command=(sys.executable, "-c", code),
            environment=dict(os.environ),
            folder=tmp_path / "run",
            stop_seconds=stop_seconds,
        )
        made.append(service)
        return service

    yield make
    for service in made:
        stop_service(service)


def wait_until_it_runs(service):
    deadline = time.monotonic() + 20
    while "runs" not in service.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def process_of(service):
    process = find(service)
    assert process is not None
    return process


def members(session):
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # others come and go
            if one.status() != psutil.STATUS_ZOMBIE and os.getsid(one.pid) == session:
                found.append(one.pid)
    return found


def test_a_service_has_a_session_of_its_own_and_is_found_again(make_service):
    service = make_service(OBEDIENT)
    assert find(service) is None
    start_service(service)
    wait_until_it_runs(service)

    found = process_of(service)
    assert found.pid == os.getsid(found.pid) != os.getsid(0)


def test_stopping_ends_what_a_service_started_too(make_service):
    service = make_service(OBEDIENT)
    start_service(service)
    wait_until_it_runs(service)
    session = process_of(service).pid
    while len(members(session)) < 2:
        time.sleep(0.02)

    assert stop_service(service)
    assert members(session) == []
    assert find(service) is None
    assert not stop_service(service)


def test_a_service_that_does_not_stop_is_killed(make_service):
    service = make_service(STUBBORN, stop_seconds=0.3)
    start_service(service)
    wait_until_it_runs(service)

    assert stop_service(service)
    assert find(service) is None


@pytest.mark.timeout(60)
def test_a_service_whose_code_nobody_takes_has_ended(make_service):
    service = make_service(OBEDIENT)
    service.folder.mkdir()
    careless = f"import subprocess, time; print(subprocess.Popen({service.command!r}).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", careless], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        service.record.write_text(json.dumps({"pid": pid, "since_boot": since_boot(psutil.Process(pid))}))

        assert stop_service(service)
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        assert find(service) is None
        parent.kill()


def test_what_was_left_behind_by_a_killed_service_is_ended_by_the_next_stop(make_service):
    service = make_service(OBEDIENT)
    start_service(service)
    wait_until_it_runs(service)
    process = process_of(service)
    while len(members(process.pid)) < 2:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert members(process.pid)

    assert not stop_service(service)
    assert members(process.pid) == []


def test_another_process_under_a_recorded_id_is_neither_found_nor_stopped(make_service):
    service, other = make_service(OBEDIENT), make_service(OBEDIENT, name="other")
    start_service(other)
    wait_until_it_runs(other)
    record = json.loads(other.record.read_text())
    service.record.write_text(json.dumps(record | {"since_boot": record["since_boot"] - 100}))

    assert find(service) is None
    assert not stop_service(service)
    assert find(other) is not None


def test_the_log_of_the_start_before_is_kept_beside_the_new_one(make_service):
    service = make_service("print('runs')")
    start_service(service)
    wait_until_it_runs(service)
    start_service(service)
    wait_until_it_runs(service)

    assert service.log.with_suffix(".log.before").read_text() == "runs\n"


def test_a_taken_port_is_told_with_its_setting_and_nothing_is_started(make_settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings = make_settings(TAILRACE_READER_PORT=str(taken.getsockname()[1]))
        with pytest.raises(LocalError, match="set TAILRACE_READER_PORT to a free one"):
            stack.up(settings, lambda _: None)
    assert embedded.status(settings) is None


def test_a_service_that_ends_is_told_with_its_log_and_what_was_started_is_stopped(make_settings, monkeypatch, tmp_path):
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "broken.py").write_text("from tailrace.definitions import NoSuchThing\n")
    monkeypatch.setenv("TAILRACE_FEATURES", str(tmp_path / "views"))
    settings = make_settings(TAILRACE_FEATURES=str(tmp_path / "views"), TAILRACE_READER_PORT=str(free_port()))

    with pytest.raises(LocalError, match="NoSuchThing"):
        stack.up(settings, lambda _: None)
    assert [name for name, one in stack.service_states(settings).items() if one.state != STOPPED] == [stack.STORE]
    assert not airflow.folder(settings).exists()


def test_down_where_nothing_runs_stops_nothing(make_settings):
    assert stack.down(make_settings(), lambda _: None) == []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
