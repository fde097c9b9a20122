"""The reader's parent process: it holds the port, and starts, watches, reloads and stops the workers."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import NamedTuple

from features.language import load_definitions
from online.embedded import store_url
from serving.access.guard import check_access
from serving.connections import raise_descriptor_limit
from serving.crew import PARENT_SLOT, Crew, CrewError, board_for
from serving.errors import ServingError
from serving.listening import AddressError, bound_sockets, take_no_more
from serving.operations.board import Cells
from serving.operations.metrics import RELOADS
from serving.operations.tracing import TracingError, start_tracing
from serving.reload import failure_of
from serving.tls import check_tls
from serving.worker import LOG_FORMAT, Job, Word
from settings import Settings

log = logging.getLogger(__name__)


class Signals(NamedTuple):
    """File descriptors from which a byte can be read for each signal that came: to stop, and to load definitions."""

    stop: int
    reload: int


def run(settings: Settings, *, port: int, workers: int, host: str = "127.0.0.1", local: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; prints one line with the address once all workers listen.

    Port 0 takes a free one. `local` answers everybody, and takes a host of loopback. A worker that ends is started
    again; SIGHUP loads the definitions anew. Raises `DefinitionError`, `EmbeddedStoreError` or `ServingError` where it
    cannot start.
    """
    if workers < 1:
        raise ServingError(f"{workers} workers cannot serve; start at least 1")
    check_access(settings.reader.access, host=host, local=local)
    check_tls(settings.reader.tls)
    logging.basicConfig(format=LOG_FORMAT, level=logging.INFO)
    raise_descriptor_limit()
    load_definitions(settings.features)  # a mistake in them is told here, once
    url = store_url(settings)
    try:
        if settings.reader.traces:
            start_tracing().close()  # as is what is missing for traces
        with bound_sockets(host, port, count=workers) as sockets, signals() as told:
            board = board_for(workers)
            cells = Cells(board, PARENT_SLOT)
            job = Job(settings=settings, url=url, local=local, sockets=sockets, board=board)
            crew = Crew(job, workers, cells)
            try:
                crew.fill()
                if crew.await_listening(told.stop):
                    address = (
                        f"{'https' if settings.reader.tls else 'http'}://{in_url(host)}:{sockets[0].getsockname()[1]}"
                    )
                    sys.stdout.write(f"serving features on {address} with {counted(workers)}\n")
                    sys.stdout.flush()
                    attend(crew, told, cells, settings)
                    crew.tell(Word.LEAVE)
                    wait([told.stop], timeout=settings.reader.drain_seconds)  # a second signal ends it
                    take_no_more(sockets)
            finally:
                crew.stop()
    except (AddressError, CrewError, TracingError) as error:
        raise ServingError(str(error)) from error


def attend(crew: Crew, told: Signals, cells: Cells, settings: Settings) -> None:
    """Keep the workers alive and their definitions as they are on disk when asked, until the reader is to stop."""
    while True:
        happened = wait([*told, *crew.happenings], timeout=crew.patience)
        if told.stop in happened:
            os.read(told.stop, 1)
            return
        if told.reload in happened:
            os.read(told.reload, 1)
            failure = failure_of(settings.features, unless=told.stop)
            cells.add((RELOADS, "refused" if failure else "taken"))
            if failure:
                log.error("the definitions stay as they were: %s", failure)
            else:
                crew.tell(Word.RELOAD)
        crew.attend()
        crew.fill()


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


def in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def counted(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"
