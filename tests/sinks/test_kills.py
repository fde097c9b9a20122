"""Real pushes that are killed at any moment, or stopped and woken when another has gone on."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import SPARK

KILLS = int(os.environ.get("PUSH_KILLS", "20"))
SEED = int(os.environ.get("PUSH_SEED") or random.randrange(10**9))
DOCUMENTS = 20_000
CHANGED = 8_000
LONGEST = 12.0  # seconds from the first step to a kill; a push takes some 5 to 10 in a new process
ZOMBIE_EVERY = 5


@pytest.fixture
def brief(publisher):
    """The publisher with leases of three seconds, which a killed push holds on to."""
    publisher.address = replace(publisher.address, lease_seconds=3)
    return publisher


@pytest.mark.slow
@pytest.mark.timeout(120 * KILLS + 300)
def test_pushes_killed_at_any_moment_leave_the_store_as_gold_is(brief, tmp_path, monkeypatch):
    monkeypatch.setattr("sinks.breaker.SMALLEST_VIEW", 10**9)
    choose = random.Random(SEED)
    views = {f"d{number}": choose.randint(1, 9) for number in range(DOCUMENTS)}
    ended_by = []
    next_one = start(brief, tmp_path / "push-0.log")
    for number in range(KILLS):
        change(choose, views)
        brief.become(**views)
        process, log = next_one, tmp_path / f"push-{number}.log"
        let_push(process, log)
        time.sleep(choose.uniform(0, LONGEST))
        is_zombie = number % ZOMBIE_EVERY == ZOMBIE_EVERY - 1
        os.killpg(process.pid, signal.SIGSTOP if is_zombie else signal.SIGKILL)
        if number + 1 < KILLS:  # comes up while this one's damage is looked at
            next_one = start(brief, tmp_path / f"push-{number + 1}.log")
        if choose.random() < 0.5:
            change(choose, views)
            brief.become(**views)
        ended_by.append(brief.push().how)
        if is_zombie:
            os.killpg(process.pid, signal.SIGCONT)
        process.wait(timeout=120)
        told = f"kill {number} of PUSH_SEED={SEED}, pushes {ended_by}"
        assert brief.reconcile() == (0, 0, 0), told
        assert brief.push().net == 0, told


def change(choose, views):
    """Values change, documents go, hide (a negative number), and come back."""
    for _ in range(CHANGED):
        name = f"d{choose.randrange(DOCUMENTS)}"
        if choose.random() < 0.1:
            views.pop(name, None)
        else:
            views[name] = choose.choice([*range(1, 9), -1])


def start(publisher, log: Path) -> subprocess.Popen[bytes]:
    """A process, in a group of its own, that starts Spark and waits; without the test, it ends."""
    arguments = [publisher.lake.root, publisher.address.url, publisher.address.table]
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


def let_push(process: subprocess.Popen[bytes], log: Path) -> None:
    """Let it push, and wait for the moment when it begins to."""
    assert process.stdin is not None
    with process.stdin as told:
        told.write(b"\n")
    while b"pushing" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
