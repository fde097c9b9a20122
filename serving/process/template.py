"""The process that others of the reader are forked from.

It imports once what workers need, which takes a second, and does nothing else: it has no event loop, no connection and
none of the parent's sockets, and has not run any definition. `multiprocessing` starts it with the first process that is
made from it, starts it again where it was killed, and ends it with the parent.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from tailrace.errors import InternalError

IMPORTED = ["serving.process.imports"]


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
