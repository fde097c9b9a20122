"""The reader's parent process: holds the port, starts, watches, reloads and stops the workers."""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import NamedTuple

from serving.auth.api_keys import check_access
from serving.common.messages import ServingError
from serving.process.sockets import AddressError, bound_sockets, check_tls, raise_descriptor_limit, take_no_more
from serving.process.template import (
    LAST_REQUEST_SECONDS,
    LOG_FORMAT,
    STOP_SECONDS,
    Job,
    Message,
    NotForked,
    begin,
    failure_of,
    forked,
)
from serving.telemetry.metrics import ENDED, GAUGES, RELOADS, Counters, SharedMetrics
from tailrace.errors import InternalError
from tailrace.settings import ReaderSettings, Settings
from tailrace.store.embedded import store_url

RESTART_SECONDS = 1.0  # a worker that cannot live must not keep the machine busy
END_SECONDS = LAST_REQUEST_SECONDS + 2 * STOP_SECONDS
PARENT_BLOCK = 0

log = logging.getLogger(__name__)


class WorkerError(InternalError):
    """A worker ended before it served; the message says how."""


@dataclass
class Worker:
    """`block` is where it counts, `place` its socket, `definitions` the fingerprint of what it serves once it listens.

    `ends_by` is when one that is closing has to have ended, on the monotonic clock.
    """

    process: ForkServerProcess
    line: Connection
    block: int
    place: int
    definitions: str = ""
    ends_by: float = math.inf

    @property
    def closing(self) -> bool:
        return self.ends_by < math.inf


class Supervisor:
    """So many workers, as long as somebody attends to them; those that close do not count."""

    def __init__(self, job: Job, workers: int, counters: Counters) -> None:
        self._job = job
        self._workers = workers
        self._counters = counters
        self._all: list[Worker] = []
        self._next_start = 0.0  # on the monotonic clock

    @property
    def serving(self) -> list[Worker]:
        return [worker for worker in self._all if not worker.closing]

    @property
    def happenings(self) -> list[Connection | int]:
        """Connections and processes to wait for: one is ready when there is something to attend to."""
        return [one for worker in self._all for one in (worker.line, worker.process.sentinel)]

    @property
    def patience(self) -> float | None:
        """Seconds until there is something to attend to anyway; None if there is not."""
        due = min((self._next_start if self._has_room() else math.inf, *(worker.ends_by for worker in self._all)))
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def fill(self) -> None:
        """Start the workers that are missing, if it is time; raises `WorkerError` if that fails."""
        while self._has_room() and time.monotonic() >= self._next_start:
            used = {worker.place for worker in self.serving}
            place = next(one for one in range(self._workers) if one not in used)
            self._start(self._free_blocks()[0], place)

    def refill(self) -> None:
        """As `fill`, while others serve: what cannot be started now is tried again later."""
        try:
            self.fill()
        except WorkerError as error:
            self._next_start = time.monotonic() + RESTART_SECONDS
            log.warning("a worker is missing: %s", error)

    def _has_room(self) -> bool:
        return len(self.serving) < self._workers and bool(self._free_blocks())

    def _free_blocks(self) -> list[int]:
        used = {PARENT_BLOCK, *(worker.block for worker in self._all)}
        return [block for block in range(self._job.metrics.blocks) if block not in used]

    def _start(self, block: int, place: int) -> None:
        try:
            process, line = forked(begin, self._job, block, place, name="tailrace-reader")
        except NotForked as error:
            raise WorkerError(str(error)) from error
        self._all.append(Worker(process, line, block, place))

    def attend(self) -> None:
        """Hear what workers say, and clear up after those that ended."""
        for worker in list(self._all):
            self._hear(worker)
            if not worker.process.is_alive():
                self._hear(worker)  # what it said before it ended
                self._forget(worker)
            elif time.monotonic() > worker.ends_by:
                self._kill(worker)

    def _hear(self, worker: Worker) -> None:
        try:
            while worker.line.poll():
                self._heard(worker, *worker.line.recv())
        except (EOFError, OSError):
            return  # it has ended, or is about to

    def _heard(self, worker: Worker, message: Message, text: str) -> None:
        if message == Message.CLOSING:
            worker.ends_by = time.monotonic() + END_SECONDS
        elif message == Message.KEPT:
            log.error("worker %d goes on with definitions %s: %s", worker.process.pid, worker.definitions, text)
        else:
            worker.definitions = text
            served = {one.definitions for one in self.serving if one.definitions}
            if message == Message.RELOADED and len(served) == 1:
                log.info("all workers serve definitions %s", text)
            if message == Message.LISTENS and len(served) > 1:
                log.warning("worker %d found other definitions than those that serve; send SIGHUP", worker.process.pid)

    def _forget(self, worker: Worker) -> None:
        worker.process.join()
        worker.line.close()
        self._all.remove(worker)
        self._job.metrics.clear(worker.block, GAUGES)
        pid, code = worker.process.pid, worker.process.exitcode
        worker.process.close()  # one whose end the template no longer saw learns by this that it has to end
        if code == 0 and worker.closing:
            return
        self._counters.add((ENDED, str(code)))
        self._next_start = time.monotonic() + RESTART_SECONDS
        log.warning("worker %d ended with exit code %s", pid, code)

    def await_listening(self, stopped: int) -> bool:
        """Wait until all listen; False if a signal came first. Raises `WorkerError` if one ends."""
        while not all(worker.definitions for worker in self._all):
            if stopped in wait([stopped, *self.happenings]):
                return False
            for worker in self._all:
                self._hear(worker)
                if not worker.process.is_alive() and not worker.definitions:
                    raise WorkerError(f"a worker ended with exit code {worker.process.exitcode}; see its error above")
        return True

    def send(self, message: Message) -> None:
        for worker in self.serving:
            try:
                worker.line.send(message)
            except OSError:
                log.debug("worker %d has ended and does not hear %s", worker.process.pid, message)

    def stop(self) -> None:
        """End all workers, after what they are asked just now."""
        for worker in self._all:
            worker.process.terminate()
        deadline = time.monotonic() + END_SECONDS
        for worker in self._all:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                self._kill(worker)
            worker.line.close()
        self._all.clear()

    @staticmethod
    def _kill(worker: Worker) -> None:
        log.warning("worker %d did not stop; killing it", worker.process.pid)
        worker.process.kill()
        worker.process.join()


def metrics_for(workers: int) -> SharedMetrics:
    """One with blocks for the parent, the workers, and those that still close while others are in their stead."""
    return SharedMetrics(1 + 2 * workers)


class Signals(NamedTuple):
    """File descriptors from which a byte can be read for each signal that came: to stop, and to load definitions."""

    stop: int
    reload: int


def run_reader(settings: Settings, *, port: int, workers: int, host: str = "127.0.0.1", local: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; prints one line with the address once all workers listen.

    Port 0 takes a free one. `local` answers everybody, and takes a host of loopback. A worker that ends is started
    again; SIGHUP loads the definitions anew. Raises `EmbeddedStoreError` or `ServingError` where it cannot start.
    """
    if workers < 1:
        raise ServingError(f"{workers} workers cannot serve; start at least 1")
    check_access(settings.reader.access, host=host, local=local)
    check_tls(settings.reader.tls)
    logging.basicConfig(format=LOG_FORMAT, level=logging.INFO)
    raise_descriptor_limit()
    url = store_url(settings)
    check_tracing(settings.reader)
    try:
        with bound_sockets(host, port, count=workers) as sockets, signals() as signalled:
            failure = failure_of(settings.features, unless=signalled.stop)  # reported here, once
            if wait([signalled.stop], timeout=0):
                return
            if failure:
                raise ServingError(failure)
            job = Job(settings=settings, url=url, local=local, sockets=sockets, metrics=metrics_for(workers))
            serve(job, signalled, workers=workers, host=host)
    except (AddressError, WorkerError) as error:
        raise ServingError(str(error)) from error


def serve(job: Job, signalled: Signals, *, workers: int, host: str) -> None:
    """Start the workers, say where they listen, attend to them, and stop them."""
    counters = Counters(job.metrics, PARENT_BLOCK)
    supervisor = Supervisor(job, workers, counters)
    try:
        supervisor.fill()
        if supervisor.await_listening(signalled.stop):
            sys.stdout.write(f"serving features on {address_of(job, host)} with {counted(workers)}\n")
            sys.stdout.flush()
            attend(supervisor, signalled, counters, job.settings)
            supervisor.send(Message.LEAVE)
            wait([signalled.stop], timeout=job.settings.reader.drain_seconds)  # a second signal ends it
            take_no_more(job.sockets)
    finally:
        supervisor.stop()


def check_tracing(settings: ReaderSettings) -> None:
    """Raises `ServingError` if traces are set and something is missing for them."""
    if not settings.traces:
        return
    from serving.telemetry.requests import TracingError, start_tracing

    try:
        start_tracing().close()
    except TracingError as error:
        raise ServingError(str(error)) from error


def attend(supervisor: Supervisor, signalled: Signals, counters: Counters, settings: Settings) -> None:
    """Keep the workers alive and their definitions as they are on disk when asked, until the reader is to stop."""
    while True:
        happened = wait([*signalled, *supervisor.happenings], timeout=supervisor.patience)
        if signalled.stop in happened:
            os.read(signalled.stop, 1)
            return
        if signalled.reload in happened:
            os.read(signalled.reload, 1)
            failure = failure_of(settings.features, unless=signalled.stop)
            counters.add((RELOADS, "refused" if failure else "taken"))
            if failure:
                log.error("the definitions stay as they were: %s", failure)
            else:
                supervisor.send(Message.RELOAD)
        supervisor.attend()
        supervisor.refill()


@contextmanager
def signals() -> Iterator[Signals]:
    with pipe() as (to_stop, stop), pipe() as (to_reload, reload):
        ends = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
        before = {
            one: signal.signal(one, lambda *_, end=end: os.write(end, b".") and None) for one, end in ends.items()
        }
        try:
            yield Signals(to_stop, to_reload)
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    readable, writable = os.pipe()
    try:
        yield readable, writable
    finally:
        os.close(readable)
        os.close(writable)


def address_of(job: Job, host: str) -> str:
    scheme, name = "https" if job.settings.reader.tls else "http", f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{job.sockets[0].getsockname()[1]}"


def counted(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
