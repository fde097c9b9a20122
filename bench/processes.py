"""Processes that a benchmark starts: they print their address, and end with it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tailrace.errors import UnavailableError

START_SECONDS = 60.0
STOP_SECONDS = 20.0
ADDRESS = re.compile(r"http://\S+(?=\s)")


class NotStarted(UnavailableError):
    """A process of the benchmark did not start; the message names its log."""


@dataclass(frozen=True)
class Server:
    """A running server, and the processes that do its work."""

    url: str
    pid: int

    @property
    def workers(self) -> list[psutil.Process]:
        """Its children, but for the helpers that `multiprocessing` keeps."""
        children = psutil.Process(self.pid).children(recursive=True)
        return [child for child in children if is_worker(child)]

    @property
    def worker_mb(self) -> float:
        """Resident memory of the largest worker, with the pages that it shares."""
        return max(worker.memory_info().rss for worker in self.workers) / 1e6


def command_of(process: psutil.Process) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def is_worker(child: psutil.Process) -> bool:
    """Whether it runs, and is none of the helpers that `multiprocessing` keeps; from one of them workers are forked."""
    command = command_of(child)
    if not command or "resource_tracker" in command:
        return False
    with suppress(psutil.NoSuchProcess):
        parent = child.parent()
        return "forkserver" not in command or (parent is not None and "forkserver" in command_of(parent))
    return False


@contextmanager
def process(
    command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process whose output is its log, and end it: its input ends, and a signal asks it to."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    assert started.stdin is not None
    try:
        yield started
    finally:
        started.stdin.close()
        end(started)


def end(started: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and then make sure of it and of all that it started, such as a JVM."""
    children: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):  # it may have ended by itself
        children = psutil.Process(started.pid).children(recursive=True)
    started.terminate()
    try:
        started.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    _, left = psutil.wait_procs(children, timeout=STOP_SECONDS)
    for child in left:
        with suppress(psutil.NoSuchProcess):
            child.kill()


@contextmanager
def ending_when_asked() -> Iterator[None]:
    """Have a request to terminate end this process as an error does, so it stops what it started."""

    def end_once(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    before = {number: signal.signal(number, end_once) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def server(
    module: str, *options: str | Path, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a module of this environment that prints its address once it listens; raises `NotStarted`."""
    with process([sys.executable, "-m", module, *options], log=log, environment=environment) as started:
        deadline = time.monotonic() + START_SECONDS
        while (address := ADDRESS.search(log.read_text())) is None:
            if started.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"{module} did not start; its log is {log}")
            time.sleep(0.02)
        yield Server(address.group(), started.pid)


def without_settings() -> dict[str, str]:
    """The environment without this product's settings, so a process gets only those of the benchmark."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
