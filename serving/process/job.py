"""What a worker is given, and what it and its parent say to each other."""

import socket
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection

from serving.telemetry.metrics import Board
from tailrace.settings import Settings

LAST_REQUEST_SECONDS = 2.0  # for each connection to send one more request, whose answer says that it is the last
STOP_SECONDS = 5.0  # for requests under way
LOG_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


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
    """What every worker is given."""

    settings: Settings
    url: str
    local: bool
    sockets: tuple[socket.socket, ...]
    board: Board


def begin(job: Job, slot: int, place: int, parent: Connection) -> None:
    """Do the work of a worker; the parent names it without importing what that needs."""
    from serving.process.worker import work

    work(job, slot, place, parent)
