"""The embedded store: a process of its own below the home."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

import psutil

from tailrace.errors import UnavailableError
from tailrace.settings import Settings, set_up_command

LOOK_SECONDS = 0.02


def runs(pid: int) -> bool:
    """Whether a process of this id goes on."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends(process: psutil.Process, *, within: float) -> bool:
    """Wait until a process has ended; False where it has not within so many seconds."""
    deadline = time.monotonic() + within
    while process.is_running() and runs(process.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


HOST = "127.0.0.1"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback needs no proxy
START_SECONDS = 20
STOP_SECONDS = 20


class EmbeddedStoreError(UnavailableError):
    """The embedded store cannot be started or stopped; the message says why and what else can be used."""


@dataclass(frozen=True)
class Running:
    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def store_url(settings: Settings) -> str:
    """The address of the store: the one that is set, else that of the embedded store, started if need be."""
    return settings.store.url or start(settings).url


def start(settings: Settings) -> Running:
    """Start the embedded store of this home unless it runs; it goes on when this process ends."""
    with _locked(settings):
        running = status(settings)
        if running is None or not _answers(running):
            running = _spawn(settings, _free_port(_remembered_port(settings)))
    return running


def stop(settings: Settings) -> bool:
    """Stop the embedded store of this home; False where none runs."""
    if not _record(settings).exists():
        return False
    with _locked(settings):
        running = status(settings)
        if running is None:
            return False
        process = psutil.Process(running.pid)
        process.terminate()
        if not ends(process, within=STOP_SECONDS):
            raise EmbeddedStoreError(f"the store, process {running.pid}, did not stop in {STOP_SECONDS} s")
        return True


def status(settings: Settings) -> Running | None:
    """The running store of this home, recognised by its database file rather than by its process id alone."""
    running = _recorded(settings)
    if running is None:
        return None
    try:
        command = psutil.Process(running.pid).cmdline()
    except psutil.Error:
        return None
    return running if str(_database(settings)) in command else None


def _recorded(settings: Settings) -> Running | None:
    """The process started last; None where there was none, or its record was torn by a full disk."""
    try:
        return Running(**json.loads(_record(settings).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _spawn(settings: Settings, port: int) -> Running:
    binary, database = settings.store.binary, _database(settings)
    if not binary.exists():
        raise EmbeddedStoreError(
            f"no embedded store at {binary}; run `{set_up_command()}`, point TAILRACE_STORE_BINARY at dynoxide "
            "(cargo install dynoxide-rs --version 3.2.0 --locked), or TAILRACE_STORE_URL at any DynamoDB-compatible store"
        )
    log = database.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(binary), "--host", HOST, "--port", str(port), "--db-path", str(database)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Running(process.pid, port)
    deadline = time.monotonic() + START_SECONDS
    while not _answers(running):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise EmbeddedStoreError(f"the embedded store did not start; its log is {log}")
        time.sleep(0.02)
    whole = _record(settings).with_suffix(".tmp")
    whole.write_text(json.dumps(asdict(running)))
    whole.replace(_record(settings))
    return running


def _answers(running: Running) -> bool:
    try:
        with DIRECT.open(running.url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True  # it speaks HTTP, and refuses an unsigned GET
    except OSError:
        return False


def _remembered_port(settings: Settings) -> int:
    recorded = _recorded(settings)
    return recorded.port if recorded else 0


def _free_port(remembered: int) -> int:
    """The port this home had before, where readers find it again after a restart, or any free one."""
    for port in (remembered, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedStoreError(f"no free port on {HOST}")


def _database(settings: Settings) -> Path:
    return settings.home / "store" / "store.db"


def _record(settings: Settings) -> Path:
    return settings.home / "store" / "process.json"


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    folder = settings.home / "store"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)
