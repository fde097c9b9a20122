"""The reader's processes: workers that share one port, and the parent that starts, watches and stops them."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from features.language import load_definitions
from online.embedded import store_url
from serving.access.guard import check_access
from serving.errors import ServingError
from serving.tls import check_tls
from serving.worker import STOP_SECONDS, Job, work
from settings import Settings

RESTART_SECONDS = 1.0  # so that a worker that cannot live does not take the machine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    process: SpawnProcess
    listening: Connection


def run(settings: Settings, *, port: int, workers: int, host: str = "127.0.0.1", local: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; prints one line with the address once all workers listen.

    Port 0 takes a free one. `local` answers everybody, and takes a host of loopback. A worker that dies is started
    again. Raises `DefinitionError`, `EmbeddedStoreError` or `ServingError` where it cannot start.
    """
    if workers < 1:
        raise ServingError(f"{workers} workers cannot serve; start at least 1")
    check_access(settings.reader.access, host=host, local=local)
    check_tls(settings.reader.tls)
    load_definitions(settings.features)  # a mistake in them is told here, once
    url = store_url(settings)
    with reserved(host, port) as taken, stop_signals() as stopped:
        job = Job(settings=settings, url=url, host=host, port=taken, local=local)
        crew: list[Worker] = []
        try:
            crew += [start(job) for _ in range(workers)]
            if all_listen(crew, stopped):
                address = f"{'https' if settings.reader.tls else 'http'}://{in_url(host)}:{taken}"
                sys.stdout.write(f"serving features on {address} with {told(workers)}\n")
                sys.stdout.flush()
                keep_alive(crew, job, stopped)
        finally:
            stop(crew)


def start(job: Job) -> Worker:
    # Spawned, not forked: numpy and the event loop's parts do not like to wake up in a copy.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, theirs), name="tailrace-reader")
    process.start()
    theirs.close()
    return Worker(process, ours)


def all_listen(crew: list[Worker], stopped: int) -> bool:
    """Wait until every worker listens; False where a signal came first."""
    for worker in crew:
        happened = wait([stopped, worker.listening])
        if stopped in happened:
            return False
        try:
            worker.listening.recv_bytes()
        except EOFError as error:
            worker.process.join(STOP_SECONDS)
            raise ServingError(
                f"a worker ended with exit code {worker.process.exitcode}; see its error above"
            ) from error
    return True


def keep_alive(crew: list[Worker], job: Job, stopped: int) -> None:
    """Start workers again that ended, until a signal comes."""
    while stopped not in wait([stopped, *(worker.process.sentinel for worker in crew)]):
        for place, worker in enumerate(crew):
            if worker.process.is_alive():
                continue
            log.warning(
                "worker %d ended with exit code %s; starting another", worker.process.pid, worker.process.exitcode
            )
            worker.listening.close()
            if wait([stopped], timeout=RESTART_SECONDS):
                return
            crew[place] = start(job)


def stop(crew: list[Worker]) -> None:
    for worker in crew:
        worker.process.terminate()
    for worker in crew:
        worker.process.join(2 * STOP_SECONDS)
        if worker.process.is_alive():
            log.warning("worker %d did not stop; killing it", worker.process.pid)
            worker.process.kill()
            worker.process.join()
        worker.listening.close()


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port that only the workers share; yields its number.

    A socket that is bound and does not listen gets no connections. The first one, bound without
    SO_REUSEPORT, fails where another server listens, with whom requests would be shared silently.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as alone, socket.socket(family) as shared:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            alone.bind((host, port))
            taken = int(alone.getsockname()[1])
            alone.close()
            shared.bind((host, taken))
        except (OSError, OverflowError) as error:
            raise ServingError(f"cannot listen on {host} port {port}: {error}; choose another, or 0 for any") from error
        yield taken


@contextmanager
def stop_signals() -> Iterator[int]:
    """A file descriptor that can be read once SIGTERM or SIGINT came."""
    readable, writable = os.pipe()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(one, lambda *_: os.write(writable, b".") and None) for one in signals]
    try:
        yield readable
    finally:
        for one, handler in zip(signals, before, strict=True):
            signal.signal(one, handler)
        os.close(readable)
        os.close(writable)


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def told(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
