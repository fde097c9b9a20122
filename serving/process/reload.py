"""Definitions that are new on disk, tried in a process of their own before any worker takes them."""

from multiprocessing.connection import Connection, wait

from serving.process.template import NotForked, forked

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
