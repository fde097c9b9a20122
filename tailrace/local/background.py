"""One process that goes on in the background: started, found again, and stopped with all that it started."""

import fcntl
import json
import math
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tailrace.errors import SetupError
from tailrace.lake.atomic_file import put
from tailrace.settings import Settings
from tailrace.store.embedded import ends, runs

# Two processes of one id never began so close together.
SAME_SECONDS = 1.0

STOPPED, STARTING, HEALTHY, UNHEALTHY = "stopped", "starting", "healthy", "unhealthy"

# What answers only this machine needs no certificate, and is asked without one.
PLAIN_HTTP = {"TAILRACE_READER_TLS_CERT": "", "TAILRACE_READER_TLS_KEY": ""}


class LocalError(SetupError):
    """Something cannot be started or stopped here; the message names it, its log or its setting, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """A command, the environment it gets, and the folder of its log and of the record by which it is found again.

    `stop_seconds` is how long it may take to end what is under way.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    stop_seconds: float

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def record(self) -> Path:
        return self.folder / f"{self.name}.json"


def places_of(settings: Settings) -> dict[str, str]:
    """The variables by which another process works on the same home, wherever it was started."""
    places = {
        "TAILRACE_HOME": str(settings.home),
        "TAILRACE_LANDING": settings.landing,
        "TAILRACE_LAKE": settings.lake,
    }
    stream = settings.stream
    if stream.enabled:
        places |= {
            "TAILRACE_STREAMING": "1",
            "TAILRACE_KAFKA_TOPIC": stream.topic,
            "TAILRACE_KAFKA": stream.kafka or "",
        }
    return places


@contextmanager
def service_lock(settings: Settings, *, wait: bool = True) -> Iterator[None]:
    """Let a second who starts or stops services of the same home wait for the first, or else raise `LocalError`."""
    settings.run_folder.mkdir(parents=True, exist_ok=True)
    with (settings.run_folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalError(f"services of {settings.home} are being started or stopped; try again") from None
        yield


def start_service(service: Service) -> None:
    """Start a process that does not end with its terminal; the log of the one before stays next to its own."""
    service.folder.mkdir(parents=True, exist_ok=True)
    if service.log.exists():
        service.log.replace(service.log.with_suffix(".log.before"))
    with service.log.open("ab") as output:
        process = subprocess.Popen(
            service.command,
            env=service.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    put(service.record, json.dumps({"pid": process.pid, "since_boot": since_boot(psutil.Process(process.pid))}))


def find(service: Service) -> psutil.Process | None:
    """The running process; None if it was never started, or has ended."""
    try:
        recorded = json.loads(service.record.read_text())
        process = psutil.Process(recorded["pid"])
        ended = process.status() == psutil.STATUS_ZOMBIE
        another = abs(since_boot(process) - recorded["since_boot"]) > SAME_SECONDS
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None
    return None if ended or another else process


def since_boot(process: psutil.Process) -> float:
    """When a process began, by a clock that nobody sets."""
    return float(process.create_time() - psutil.boot_time())


def stop_service(service: Service) -> bool:
    """End a process, and then whatever it left behind; False if nothing ran."""
    process = find(service)
    if process is not None:
        with suppress(psutil.NoSuchProcess):  # it may end by itself at any moment
            process.terminate()
        if not ends(process, within=service.stop_seconds):
            process.kill()
            ends(process, within=math.inf)
    stragglers = list(left_behind(service))
    for straggler in stragglers:
        with suppress(psutil.NoSuchProcess):
            straggler.kill()
    while any(runs(straggler.pid) for straggler in stragglers):
        time.sleep(0.01)
    service.record.unlink(missing_ok=True)
    return process is not None


def left_behind(service: Service) -> Iterator[psutil.Process]:
    """Processes left of the session that a service began, once it has ended itself."""
    try:
        session = json.loads(service.record.read_text())["pid"]
    except FileNotFoundError:
        return
    if runs(session):
        return  # the id went to another process: a session keeps it from that while anything of it is left
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                yield process
        except ProcessLookupError:
            continue


def last_lines(service: Service, *, count: int = 5) -> str:
    """The end of a service's log."""
    lines = service.log.read_text(errors="replace").splitlines() if service.log.exists() else []
    return "\n".join(lines[-count:])
