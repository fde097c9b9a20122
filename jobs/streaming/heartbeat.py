"""How the stream is: one process per home, and what it last reported."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from tailrace.errors import ConflictError
from tailrace.lake.atomic_file import put

LOOKS, LOOK_SECONDS = 10, 0.1  # who asks whether a stream runs holds the lock for a moment


class HalfRebuilt(ConflictError):
    """The store holds a part of what a rebuild was to write; the message names the home."""

    retryable = False


class RunsAlready(ConflictError):
    """Another process follows; the message names the home."""


def lock_of(home: Path) -> Path:
    return home / "stream" / "lock"


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
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
    with exclusive(home):
        mark_of(home).touch()
        yield
        mark_of(home).unlink()


def refuse_half_rebuilt(home: Path) -> None:
    """Raise `HalfRebuilt` where a rebuild was cut off: pairs may know events that documents do not have."""
    if mark_of(home).exists():
        raise HalfRebuilt(f"a rebuild of the stream's views of {home} was cut off; finish it with `tailrace rebuild`")


def mark_of(home: Path) -> Path:
    return home / "stream" / "rebuilding"


def has_run(home: Path) -> bool:
    """Whether a home ever had a stream, though its checkpoint may be lost."""
    return lock_of(home).parent.exists()


def stream_runs(home: Path) -> bool:
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


WAITING = "Waiting for data to arrive"  # Spark's words for a query that has looked, and found nothing new
SILENT_SECONDS = 15.0  # a heartbeat comes each second, on a busy machine a few later; after this it hangs


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """One look at the stream; times are seconds since 1970.

    `began` is when the process did, `follows` whether it came to follow its source since. `batch` is the number of the last
    micro-batch, `behind` the messages that it left to the next; None where the source does not say. `waiting` counts
    messages behind open transactions, which nobody can read before these end. Every message that
    was appended before `caught_up_to` is readable. `catching_up_since` is when a process first began that had not come so far
    yet, however many began since; None where this one has. `error` is why the stream has been failing since, if it does.
    """

    pid: int
    began: float
    written: float
    follows: bool = False
    batch: int | None = None
    behind: int | None = None
    waiting: int = 0
    rows_per_second: float | None = None
    caught_up_to: float | None = None
    catching_up_since: float | None = None
    failing_since: float | None = None
    error: str | None = None

    def failing(self, error: str, *, now: float) -> "Heartbeat":
        return replace(self, failing_since=self.failing_since or now, error=error)

    def well(self) -> "Heartbeat":
        return replace(self, failing_since=None, error=None)


def first_heartbeat(before: Heartbeat | None, *, now: float) -> Heartbeat:
    """Of a process that begins; what the one before had brought to the store is there, and what it failed of may be."""
    new = Heartbeat(pid=os.getpid(), began=now, written=now, catching_up_since=now)
    if before is None:
        return new
    known = replace(new, batch=before.batch, behind=before.behind, caught_up_to=before.caught_up_to)
    known = replace(known, failing_since=before.failing_since, error=before.error)
    return replace(known, catching_up_since=before.catching_up_since or now)


def look(
    before: Heartbeat,
    progress: Mapping[str, Any] | None,
    status: Mapping[str, Any],
    *,
    now: float,
    bound: float | None = None,
) -> Heartbeat:
    """What a running query reports: `progress` is that of its last micro-batch, `status` what it does now.

    `bound` is up to when the source can be read, None for all of it.
    """
    after, bound = before, now if bound is None else bound
    if progress is not None:
        behind = messages_behind(progress["sources"][0])
        after = replace(after, behind=behind)
        if "addBatch" in progress["durationMs"]:  # else it looked, and there was nothing to do
            # Of a folder Spark reads nothing itself.
            rate = None if behind is None else progress["processedRowsPerSecond"]
            after = replace(after, batch=progress["batchId"], rows_per_second=rate)
        if behind == 0:
            after = caught_up(after, min(seconds_of_text(progress["timestamp"]), bound))
    if is_waiting(status):
        after = caught_up(replace(after, behind=None if after.behind is None else 0, rows_per_second=0.0), bound)
    if after.batch != before.batch:
        after = after.well()
    return replace(after, follows=True)


def is_waiting(status: Mapping[str, Any]) -> bool:
    return bool(status["message"] == WAITING and not status["isDataAvailable"])


def caught_up(heartbeat: Heartbeat, moment: float) -> Heartbeat:
    if not moment:
        return heartbeat  # a transaction has been open for longer than this process looks
    return replace(heartbeat, caught_up_to=max(moment, heartbeat.caught_up_to or moment), catching_up_since=None)


def messages_behind(source: Mapping[str, Any]) -> int | None:
    """What the source had beyond the micro-batch when that began; None for a folder, which does not count ahead."""
    latest, end = source.get("latestOffset"), source.get("endOffset")
    if not isinstance(latest, Mapping) or not isinstance(end, Mapping):
        return None
    left = 0
    for topic, partitions in latest.items():
        consumed = end.get(topic, {})
        left += sum(max(int(offset) - int(consumed.get(partition, 0)), 0) for partition, offset in partitions.items())
    return left


def seconds_of_text(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def file_of(home: Path) -> Path:
    return home / "stream" / "progress.json"


def write_heartbeat(home: Path, heartbeat: Heartbeat) -> None:
    put(file_of(home), json.dumps(asdict(replace(heartbeat, written=time.time()))))


def read_heartbeat(home: Path) -> Heartbeat | None:
    """The last heartbeat of a home; None where no stream ever ran, or a full disk tore the file."""
    try:
        return Heartbeat(**json.loads(file_of(home).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
