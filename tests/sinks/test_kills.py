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

from settings import read_settings
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
    for number in range(KILLS):
        change(choose, views)
        brief.become(**views)
        process = start(brief, tmp_path / f"push-{number}.log")
        time.sleep(choose.uniform(0, LONGEST))
        is_zombie = number % ZOMBIE_EVERY == ZOMBIE_EVERY - 1
        os.killpg(process.pid, signal.SIGSTOP if is_zombie else signal.SIGKILL)
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
    """A push in a process group of its own, at the moment when Spark is up."""
    # Each process lives for one push, most of which is the JVM warming up.
    options = f"{read_settings().spark.java_options} -XX:TieredStopAtLevel=1"
    environment = os.environ | SPARK | {"TAILRACE_SPARK_JAVA_OPTIONS": options}
    arguments = [publisher.lake.root, publisher.address.url, publisher.address.table]
    command = [sys.executable, "-m", "tests.sinks.push_process", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    while b"pushing" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    return process
