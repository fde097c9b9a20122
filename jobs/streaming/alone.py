"""One stream of a home at a time: whoever follows holds its lock, which ends with the process, however that ends."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tailrace.errors import ConflictError

LOOKS, LOOK_SECONDS = 10, 0.1  # who asks whether a stream runs holds the lock for a moment


class HalfRebuilt(ConflictError):
    """The store holds a part of what a rebuild was to write; the message names the home."""

    retryable = False


class RunsAlready(ConflictError):
    """Another process follows; the message names the home."""


def lock_of(home: Path) -> Path:
    return home / "stream" / "lock"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the one stream of the home; raises `RunsAlready` where another is."""
    lock_of(home).parent.mkdir(parents=True, exist_ok=True)
    with lock_of(home).open("w") as lock:
        for _ in range(LOOKS):
            if is_free(lock, fcntl.LOCK_EX):
                break
            time.sleep(LOOK_SECONDS)
        else:
            raise RunsAlready(f"the stream of {home} runs already")
        yield


@contextmanager
def rebuilding(home: Path) -> Iterator[None]:
    """Be the one stream while its views are written anew; cut off, it leaves a mark for `refuse_half_rebuilt`."""
    with alone(home):
        mark_of(home).touch()
        yield
        mark_of(home).unlink()


def refuse_half_rebuilt(home: Path) -> None:
    """Raise `HalfRebuilt` where a rebuild was cut off: pairs may know events that nobody has told documents of."""
    if mark_of(home).exists():
        raise HalfRebuilt(f"a rebuild of the stream's views of {home} was cut off; finish it with `tailrace rebuild`")


def mark_of(home: Path) -> Path:
    return home / "stream" / "rebuilding"


def has_run(home: Path) -> bool:
    """Whether a home ever had a stream, though its checkpoint may be lost."""
    return lock_of(home).parent.exists()


def runs(home: Path) -> bool:
    """Whether a stream of the home runs, in the background or not."""
    try:
        with lock_of(home).open() as lock:
            return not is_free(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def is_free(lock: TextIO, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
