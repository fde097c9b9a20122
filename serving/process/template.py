"""The process that workers are forked from, and a trial of new definitions in it."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
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


TRY_SECONDS = 30.0


def failure_of(folders: tuple[str, ...], *, unless: int) -> str:
    """Why these definitions cannot be used; empty where they can. Does not go on once `unless` can be read."""
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
