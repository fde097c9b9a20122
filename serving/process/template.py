"""The process that workers are forked from, the job that they get, and a trial of new definitions."""

import multiprocessing
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from serving.telemetry.metrics import SharedMetrics
from tailrace.errors import InternalError
from tailrace.settings import Settings

LAST_REQUEST_SECONDS = 2.0  # for each connection to send one more request, whose answer says that it is the last
STOP_SECONDS = 5.0  # for requests under way
LOG_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"

IMPORTED = ["serving.process.imports"]

TRY_SECONDS = 30.0


class Message(StrEnum):
    """Messages between the parent and a worker, each with a text that says more."""

    LISTENS = "listens"  # from the worker, with the fingerprint of its definitions
    CLOSING = "closing"  # it takes no more connections
    RELOADED = "reloaded"  # with the new fingerprint
    KEPT = "kept"  # it could not reload, with the reason
    RELOAD = "reload"  # from the parent
    LEAVE = "leave"  # say that you are not ready


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings and shared resources that every worker gets."""

    settings: Settings
    url: str
    local: bool
    sockets: tuple[socket.socket, ...]
    metrics: SharedMetrics


def begin(job: Job, block: int, place: int, parent: Connection) -> None:
    """Do the work of a worker; the parent names it without importing what that needs."""
    from serving.process.worker import work

    work(job, block, place, parent)


class NotForked(InternalError):
    """There is no process, because the template ended before it was made."""


def forked(target: Callable[..., None], *args: Any, name: str) -> tuple[ForkServerProcess, Connection]:
    """Have a process call a function with these arguments and, last, its end of a pipe; also returns the other end.

    Raises `NotForked`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*args, theirs), name=name)
    try:
        process.start()
    except (EOFError, OSError) as error:
        ours.close()
        raise NotForked(
            f"the process that {name} is forked from ended: {type(error).__name__} {error}".rstrip()
        ) from error
    finally:
        theirs.close()
    return process, ours


def failure_of(folders: tuple[str, ...], *, unless: int) -> str:
    """Why these definitions cannot be used; empty if they can. Does not go on once `unless` can be read."""
    try:
        process, ours = forked(try_out, folders, name="tailrace-definitions")
    except NotForked as error:
        return str(error)
    try:
        happened = wait([ours, unless], timeout=TRY_SECONDS)
        if ours not in happened:
            return "the reader stops" if happened else f"they did not load within {TRY_SECONDS:g} s"
        failure: str = ours.recv()
        return failure
    except EOFError:
        process.join()
        return f"the process that loaded them ended with exit code {process.exitcode}; see its error above"
    finally:
        process.kill()
        process.join()
        ours.close()


def try_out(folders: tuple[str, ...], result: Connection) -> None:
    from tailrace.definitions import DefinitionError, load_definitions

    try:
        load_definitions(folders)
    except DefinitionError as error:
        result.send(str(error))
    else:
        result.send("")
