"""The reader's parent process: it holds the port, and starts, watches, reloads and stops the workers."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import NamedTuple

from serving.auth.start import check_access
from serving.common.failure import ServingError
from serving.process.job import LOG_FORMAT, Job, Message
from serving.process.listening import AddressError, bound_sockets, raise_descriptor_limit, take_no_more
from serving.process.reload import failure_of
from serving.process.supervisor import PARENT_SLOT, Supervisor, WorkerError, board_for
from serving.process.tls import check_tls
from serving.telemetry.board import Cells
from serving.telemetry.metrics import RELOADS
from tailrace.settings import ReaderSettings, Settings
from tailrace.store.embedded import store_url

log = logging.getLogger(__name__)


class Signals(NamedTuple):
    """File descriptors from which a byte can be read for each signal that came: to stop, and to load definitions."""

    stop: int
    reload: int


def run(settings: Settings, *, port: int, workers: int, host: str = "127.0.0.1", local: bool = False) -> None:
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
            job = Job(settings=settings, url=url, local=local, sockets=sockets, board=board_for(workers))
            serve(job, signalled, workers=workers, host=host)
    except (AddressError, WorkerError) as error:
        raise ServingError(str(error)) from error


def serve(job: Job, signalled: Signals, *, workers: int, host: str) -> None:
    """Start the workers, say where they listen, attend to them, and stop them."""
    cells = Cells(job.board, PARENT_SLOT)
    supervisor = Supervisor(job, workers, cells)
    try:
        supervisor.fill()
        if supervisor.await_listening(signalled.stop):
            sys.stdout.write(f"serving features on {address_of(job, host)} with {counted(workers)}\n")
            sys.stdout.flush()
            attend(supervisor, signalled, cells, job.settings)
            supervisor.send(Message.LEAVE)
            wait([signalled.stop], timeout=job.settings.reader.drain_seconds)  # a second signal ends it
            take_no_more(job.sockets)
    finally:
        supervisor.stop()


def check_tracing(settings: ReaderSettings) -> None:
    """Raises `ServingError` where traces are wanted and something is missing for them."""
    if not settings.traces:
        return
    from serving.telemetry.tracing import TracingError, start_tracing

    try:
        start_tracing().close()
    except TracingError as error:
        raise ServingError(str(error)) from error


def attend(supervisor: Supervisor, signalled: Signals, cells: Cells, settings: Settings) -> None:
    """Keep the workers alive and their definitions as they are on disk when asked, until the reader is to stop."""
    while True:
        happened = wait([*signalled, *supervisor.happenings], timeout=supervisor.patience)
        if signalled.stop in happened:
            os.read(signalled.stop, 1)
            return
        if signalled.reload in happened:
            os.read(signalled.reload, 1)
            failure = failure_of(settings.features, unless=signalled.stop)
            cells.add((RELOADS, "refused" if failure else "taken"))
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
