"""The log of direct writes: segments, and their delivery to the landing folder."""

import fcntl
import os
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import orjson
import pyarrow as pa

from tailrace.errors import UnavailableError
from tailrace.schemas import landing
from tailrace.schemas.slots import from_micros, to_micros, to_text

SUFFIX = ".log"
INTENT = b'{"number":'  # what its line begins with
CLOSED = -1  # in place of a descriptor
MEND = "move the file out of its folder, see what of it the store has, and write the rest again"


class LogError(UnavailableError):
    """The log cannot be written or understood; the message names the file and what to do."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of direct writes of one machine, and the landing folder that it ends in."""

    folder: Path
    landing: str

    @property
    def segments(self) -> list[Path]:
        """All there are, of whichever process."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    @property
    def has_segments(self) -> bool:
        return bool(self.segments)


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
        """As it stands in the log."""
        return orjson.dumps(
            {
                "number": self.number,
                "view": self.view,
                "keys": self.keys,
                "occurred_at": to_text(from_micros(self.occurred_at)),
                "revision": self.revision,
                "values": self.values,
                "accepted_at": to_text(from_micros(self.accepted_at)),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Self:
        times = {name: to_micros(datetime.fromisoformat(record[name])) for name in ("occurred_at", "accepted_at")}
        return cls(**record | times)


def landed_line(line: bytes, acknowledged_at: str | None) -> bytes:
    """An intent's line as it lands once the value was written; logs of earlier versions do not say when that was."""
    return line if acknowledged_at is None else b'%b,"acknowledged_at":"%b"}\n' % (line[:-2], acknowledged_at.encode())


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The numbers of the intents that were written, of those that a later one overwrote, and of those kept out."""

    written: list[int]
    overwritten: list[int]
    kept_out: list[int]

    def to_line(self, *, acknowledged_at: int) -> bytes:
        """`acknowledged_at` is when the outcomes were known, in microseconds."""
        record: dict[str, Any] = {"written": self.written}
        record |= {"overwritten": self.overwritten} if self.overwritten else {}
        record |= {"kept_out": self.kept_out, "acknowledged_at": to_text(from_micros(acknowledged_at))}
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(slots=True)
class Contents:
    """What a segment holds: lines of intents by number, what became of them, and what of it has landed.

    `landings` are the numbers that landings named, of which the first `confirmed` are known to have landed. `damage` says
    what is wrong with a line that nobody can read, and is empty where all can be.
    """

    path: Path
    intents: dict[int, bytes] = field(default_factory=dict)
    written: dict[int, str | None] = field(default_factory=dict)  # with when it was acknowledged
    kept_out: set[int] = field(default_factory=set)
    landings: list[list[int]] = field(default_factory=list)
    confirmed: int = 0
    damage: str = ""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a segment's file; a last line that was cut off says nothing. Raises `OSError`."""
        contents = cls(path)
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            if line.endswith(b"\n"):
                try:
                    contents._take(line)
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    contents.damage = f"{path}, line {number}: damaged: {type(error).__name__} {error}; {MEND}"
        return contents

    def _take(self, line: bytes) -> None:
        if line.startswith(INTENT) and line.endswith(b"}\n"):  # many thousands, and requests go on meanwhile
            self.intents[int(line[len(INTENT) : line.index(b",")])] = line
            return
        record = orjson.loads(line)
        if "landing" in record:
            self.landings.append(record["landing"])
        elif "landed" in record:
            self.confirmed = max(self.confirmed, record["landed"])
        else:
            self.written |= dict.fromkeys(record["written"], record.get("acknowledged_at"))
            self.kept_out.update(record["kept_out"])

    @property
    def unlanded(self) -> list[int]:
        """The numbers of those that were written and that no landing names."""
        named = {number for landing in self.landings for number in landing}
        return [number for number in self.intents if number in self.written and number not in named]

    def unknown(self) -> list[Intent]:
        """The intents without an outcome; those that cannot be understood are damage."""
        intents = []
        for number, line in self.intents.items():
            if number not in self.written and number not in self.kept_out:
                try:
                    intents.append(Intent.of_record(orjson.loads(line)))
                except (KeyError, TypeError, ValueError) as error:
                    self.damage = f"{self.path}: intent {number}: damaged: {type(error).__name__} {error}; {MEND}"
        return intents

    def lines(self, numbers: Iterable[int]) -> bytes:
        """Intents that were written, as they land."""
        known = [number for number in numbers if number in self.intents and number in self.written]
        return b"".join(landed_line(self.intents[number], self.written[number]) for number in known)


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
        """The segment of a process that is gone; None where another process has it, or it is gone as well. Raises `OSError`."""
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
                os.fdatasync(self._descriptor)  # the disk reports an error once, to whoever asks
                self._is_whole = True
        except OSError as error:
            raise LogError(f"{self.path}: the log of direct writes cannot be written: {error}") from error

    def remove(self) -> None:
        """Remove the file, now that all of it is recorded elsewhere."""
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
    """Cut a last line off that was not written whole, and what is appended stands on a line of its own."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def deliver(segment: Segment, landing_folder: str) -> Contents:
    """Land what is known to be written of a segment, and remove the segment once nothing of it is left to do.

    Cut off and done again, it lands the same files once more. Raises `LogError` where the folder does not take them;
    returns what the segment holds.
    """
    contents = Contents.read(segment.path)
    has_unknown = bool(contents.intents.keys() - contents.written.keys() - contents.kept_out)
    if new := contents.unlanded:
        if has_unknown or contents.damage:  # more may be written later: what this landing has is written down before
            segment.append([orjson.dumps({"landing": new}, option=orjson.OPT_APPEND_NEWLINE)])
        contents.landings.append(new)
    for number, landed in enumerate(contents.landings):
        if number >= contents.confirmed:
            name = f"{segment.path.stem}{f'-{number}' if number else ''}.jsonl"
            land(contents.lines(landed), name=name, folder=landing.DIRECT_WRITES.folder(landing_folder))
    if not has_unknown and not contents.damage:
        segment.remove()
    elif contents.confirmed < len(contents.landings):
        contents.confirmed = len(contents.landings)
        segment.append([orjson.dumps({"landed": contents.confirmed}, option=orjson.OPT_APPEND_NEWLINE)])
    return contents


def land(content: bytes, *, name: str, folder: str) -> None:
    """Write a file durably and whole, on disk or in an object store that Arrow knows."""
    try:
        if urlsplit(folder).scheme in {"", "file"}:
            land_on_disk(content, Path(unquote(urlsplit(folder).path) if "://" in folder else folder), name)
        else:
            from pyarrow.fs import FileSystem  # 9 MB in every reader, of which few land elsewhere

            system, path = FileSystem.from_uri(folder.replace("s3a://", "s3://", 1))
            with system.open_output_stream(f"{path}/{name}") as stream:
                stream.write(content)
    except (OSError, pa.ArrowException) as error:
        raise LogError(f"{folder}/{name}: direct writes cannot be landed: {error}") from error


def land_on_disk(content: bytes, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.tmp"
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / name)
    sync_folder(folder)
