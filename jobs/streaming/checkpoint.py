"""What the checkpoint of a stream, a local folder that Spark keeps, tells of how far it came."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tailrace.lake.atomic_file import put
from tailrace.schemas.landing import LandingError

VERSION = "v1"  # of Spark's files; below it are a line of Spark's own and one of the source
NOTHING = "-"
VIEWS = "views.json"  # beside the checkpoint


def checkpoint_of(home: Path) -> Path:
    """Where the checkpoint of a home's stream is."""
    return home / "stream" / "checkpoint"


def remember_views(checkpoint: Path, views: Iterable[str]) -> None:
    """Note which views a stream has ever kept: nothing but the store has them, and searching that takes a while."""
    before = remembered_views(checkpoint)
    known = before.union(views)
    if known != before:
        put(checkpoint.with_name(VIEWS), json.dumps(sorted(known)))


def remembered_views(checkpoint: Path) -> set[str]:
    """The views that a stream has ever kept, as far as it was noted."""
    try:
        return set(json.loads(checkpoint.with_name(VIEWS).read_text()))
    except FileNotFoundError:
        return set()


def run_id(checkpoint: Path) -> int:
    """A number for the run of micro-batches that a checkpoint counts: another checkpoint counts from 0 again."""
    return int(json.loads((checkpoint / "metadata").read_text())["id"].replace("-", "")[:15], 16)


def committed_offsets(checkpoint: Path, *, topic: str | None = None) -> dict[int, int]:
    """By partition, the offset of the next message to take; empty before the first micro-batch was written.

    Empty also where the stream followed a folder, or another topic than the one named. Raises `LandingError` for a
    checkpoint of another version of Spark.
    """
    last = last_committed(checkpoint)
    if last is None:
        return {}
    name, offsets = planned_offsets(checkpoint, last)
    return offsets if topic in {None, name} else {}


def last_committed(checkpoint: Path) -> int | None:
    """The number of the micro-batch that was written last."""
    return newest(checkpoint / "commits")


def newest(folder: Path) -> int | None:
    """The largest number that a file of the folder has for its name."""
    return max((int(file.name) for file in folder.glob("*") if file.name.isdigit()), default=None)


def followed(checkpoint: Path) -> str | None:
    """The topic of the micro-batch that was planned last, empty for a folder; None before the first one."""
    last = newest(checkpoint / "offsets")
    return None if last is None or not planned(checkpoint, last) else planned_offsets(checkpoint, last)[0]


def planned_offsets(checkpoint: Path, number: int) -> tuple[str, dict[int, int]]:
    """The topic of a micro-batch, and by partition the offset before which it ends; none of either for a folder."""
    for name, offsets in planned(checkpoint, number).items():
        if isinstance(offsets, dict):  # files are counted by one number
            return name, {int(partition): int(offset) for partition, offset in offsets.items()}
    return "", {}


def began_at(checkpoint: Path, number: int) -> datetime:
    """When a micro-batch began for the first time, however often it is repeated."""
    _, told, *_ = (checkpoint / "offsets" / str(number)).read_text().splitlines()
    return datetime.fromtimestamp(json.loads(told)["batchTimestampMs"] / 1000, UTC)


def planned(checkpoint: Path, number: int) -> dict[str, Any]:
    """Where a micro-batch ends, in the words of Spark's source; empty where it has nothing of it."""
    file = checkpoint / "offsets" / str(number)
    version, _, *sources = file.read_text().splitlines()
    if version != VERSION or len(sources) != 1:
        raise LandingError(
            f"{file} is not as Tailrace knows it; was the checkpoint written by another version of Spark?"
        )
    told: dict[str, Any] = {} if sources[0] == NOTHING else json.loads(sources[0])
    return told


def refuse_steps_back(checkpoint: Path, number: int, *, topic: str) -> None:
    """Raise `LandingError` where a micro-batch of the topic ends before the last one: the topic was made anew.

    Spark goes on at the end that the new topic has by then. A micro-batch that is left of a topic which is followed no
    more is let through: there is nothing in it, and the next one is of the other topic.
    """
    last = last_committed(checkpoint)
    if last is None:
        return
    (before, reached), (name, planned) = planned_offsets(checkpoint, last), planned_offsets(checkpoint, number)
    for partition, taken in reached.items():
        end = planned.get(partition, 0)
        if before == name == topic and end < taken:
            from jobs.bronze.topic import made_anew  # Spark, which those who ask how far a stream is do without

            raise made_anew(topic, partition, end, taken=taken)


def log_of(checkpoint: Path) -> Path:
    """The log in which Spark's source of a folder keeps its files."""
    return checkpoint / "sources" / "0"


def logged_files(entries: Iterable[Path]) -> Iterator[tuple[int, str]]:
    """The entry of each file of that log, though it is in a compact one, and where the file is, as a URI."""
    for entry in entries:
        if not entry.name.removesuffix(".compact").isdecimal():
            continue
        _, *files = entry.read_text().splitlines()
        for file in map(json.loads, files):
            yield file["batchId"], file["path"]
