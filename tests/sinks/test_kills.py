"""Real pushes that are killed at any moment, or stopped and woken when another has gone on."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tailrace.lake.tables import Lake
from tests.conftest import SPARK
from tests.sinks.publisher import Publisher

KILLS = int(os.environ.get("PUSH_KILLS", "2"))
SEED = int(os.environ.get("PUSH_SEED") or random.randrange(10**9))
DOCUMENTS = 8_000
CHANGED = 3_000
LONGEST = 8.0  # seconds from the first step to a kill; a push takes some 4 to 8 in a new process
BESIDE = 2  # pushes in a process, which takes most of its time to start; killed at once, they are at different steps
APART = 2.0  # seconds at most from the start of one to that of another


@pytest.fixture
def beside(spark, tmp_path, publisher):
    """Publishers, each of a lake and a table of its own, with leases of three seconds, which a killed push holds on to."""
    made = []
    for number in range(BESIDE):
        table = f"{publisher.address.table}-{number}"
        lake = Lake(spark, str(tmp_path / f"lake-{number}"))
        made.append(Publisher(lake, replace(publisher.address, table=table, lease_seconds=3)))
    return made


@pytest.mark.slow
@pytest.mark.timeout(120 * KILLS + 300)
def test_pushes_killed_at_any_moment_leave_the_store_as_gold_is(beside, tmp_path, monkeypatch):
    monkeypatch.setattr("sinks.net_changes.SMALLEST_VIEW", 10**9)
    choose = random.Random(SEED)
    held = [{f"d{number}": choose.randint(1, 9) for number in range(DOCUMENTS)} for _ in beside]
    ended_by = []
    processes = -(-KILLS // BESIDE)
    next_one = start(choose, beside, tmp_path / "push-0.log")
    for number in range(processes):
        for one, views in zip(beside, held, strict=True):
            change(choose, views)
            one.become(**views)
        process, log = next_one, tmp_path / f"push-{number}.log"
        let_push(process, log)
        time.sleep(choose.uniform(0, LONGEST))
        is_zombie = choose.random() < 0.5
        send(process, signal.SIGSTOP if is_zombie else signal.SIGKILL)
        if number + 1 < processes:  # comes up while this one's damage is looked at
            next_one = start(choose, beside, tmp_path / f"push-{number + 1}.log")
        for one, views in zip(beside, held, strict=True):
            if choose.random() < 0.5:
                change(choose, views)
                one.become(**views)
            ended_by.append(one.push().how)
        if is_zombie:
            send(process, signal.SIGCONT)
        process.wait(timeout=120)
        told = f"kill {number} of PUSH_SEED={SEED}, pushes {ended_by}"
        for one in beside:
            assert one.reconcile() == (0, 0, 0), told
            assert one.push().net == 0, told


def change(choose, views):
    """Values change, documents go, hide (a negative number), and come back."""
    for _ in range(CHANGED):
        name = f"d{choose.randrange(DOCUMENTS)}"
        if choose.random() < 0.1:
            views.pop(name, None)
        else:
            views[name] = choose.choice([*range(1, 9), -1])


def start(choose, publishers, log: Path) -> subprocess.Popen[bytes]:
    """A process, in a group of its own, that starts Spark and waits; without the test, it ends."""
    arguments = [publishers[0].address.url]
    for one in publishers:
        arguments += [one.lake.root, one.address.table, str(choose.uniform(0, APART))]
    command = [sys.executable, "-m", "tests.sinks.push_process", *arguments]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=os.environ | SPARK,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def send(process: subprocess.Popen[bytes], what: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it may have come to its end
        os.killpg(process.pid, what)


def let_push(process: subprocess.Popen[bytes], log: Path) -> None:
    """Let it push, and wait for the moment when it begins to."""
    assert process.stdin is not None
    with process.stdin as told:
        told.write(b"\n")
    while b"pushing" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
