"""The log of direct writes: what is about to be written, made durable before, and what became of it, made durable after.

A segment is a file of JSON lines that one process appends to and holds a lock on; a segment that nobody holds is a dead
process's, and is adopted. An intent has a number within its segment; an outcome names the numbers of those that were
written (`written`) and of those that were not (`kept_out`).
"""

import fcntl
import os
import threading
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

SUFFIX = ".log"
CLOSED = -1  # in place of a descriptor
MEND = "move the file out of its folder, see what of it the store has, and write the rest again"


class LogError(Exception):
    """The log cannot be written or understood; the message names the file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One value that is about to be written; `values` is None where the key is to go. Times are in microseconds."""

    number: int
    view: str
    keys: dict[str, str]
    occurred_at: int
    revision: int
    values: dict[str, Any] | None
    accepted_at: int

    def to_line(self) -> bytes:
        told = {name: getattr(self, name) for name in self.__slots__}
        return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The numbers of the intents that were written, and of those that the store kept out."""

    written: list[int]
    kept_out: list[int]

    def to_line(self) -> bytes:
        return orjson.dumps({"written": self.written, "kept_out": self.kept_out}, option=orjson.OPT_APPEND_NEWLINE)


class Segment:
    """A file of the log, open and locked by this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._is_whole = True
        self._one_at_a_time = threading.Lock()

    @classmethod
    def begin(cls, folder: Path) -> Self:
        """A new segment; raises `LogError` where the folder takes none."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while True:
                path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
                descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
                if lock(descriptor) and os.fstat(descriptor).st_nlink:  # nobody took it for a dead one meanwhile
                    sync_folder(folder)
                    return cls(path, descriptor)
                os.close(descriptor)
        except OSError as error:
            raise LogError(f"{folder}: no log of direct writes can be begun: {error}") from error

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """The segment of a process that is gone; None where it is held, or gone as well. Raises `OSError`."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        if lock(descriptor) and os.fstat(descriptor).st_nlink:
            cut_tail(path, descriptor)
            return cls(path, descriptor)
        os.close(descriptor)
        return None

    def append(self, lines: Iterable[bytes]) -> None:
        """Append lines durably; raises `LogError` where that failed, after which the segment takes no more."""
        data = memoryview(b"".join(lines))
        try:
            with self._one_at_a_time:
                if not self._is_whole:
                    raise LogError(f"{self.path}: an earlier write to this log failed")
                self._is_whole = False
                while data:
                    data = data[os.write(self._descriptor, data) :]
                os.fdatasync(self._descriptor)  # an error of the disk is told to one who asks, and once
                self._is_whole = True
        except OSError as error:
            raise LogError(f"{self.path}: the log of direct writes cannot be written: {error}") from error

    def read(self) -> tuple[list[Intent], Outcomes]:
        """All intents, and the outcomes that are known. A last line that was cut off says nothing."""
        intents, outcomes = [], Outcomes([], [])
        for record in records(self.path):
            try:
                if "number" in record:
                    intents.append(Intent(**record))
                else:
                    outcomes.written.extend(record["written"])
                    outcomes.kept_out.extend(record["kept_out"])
            except (KeyError, TypeError) as error:
                raise LogError(f"{self.path} holds a line that no log has: {error}; {MEND}") from error
        return intents, outcomes

    def remove(self) -> None:
        """Remove the file, all of it being told elsewhere."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leave the file to whoever adopts it; closing once more does nothing."""
        descriptor, self._descriptor = self._descriptor, CLOSED
        if descriptor != CLOSED:
            os.close(descriptor)


def lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cut_tail(path: Path, descriptor: int) -> None:
    """Cut a last line off that was not written whole, so that what is appended stands on a line of its own."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def records(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        if not line.endswith(b"\n"):
            return  # cut off
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise LogError(f"{path}, line {number}: damaged: {error}; {MEND}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
