"""Up to where a stream has come, as its checkpoint tells: by bronze's files, whichever source they are of."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.topic import PREFIX, Topic
from jobs.streaming.checkpoint import last_committed, planned, planned_offsets, run_id
from lake.session import small_frame

ALL_LINES = 2**62
LOG_ENTRY = "logOffset"  # of the log in which Spark's source of a folder keeps its files


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The run of a stream, its last micro-batch that is complete, and by file the first line that it has not taken.

    `topic` is what that micro-batch was of, None for a folder.
    """

    run: int = 0
    batch: int = -1
    topic: str | None = None
    ends: Mapping[str, int] = field(default_factory=dict)

    def split(self, events: DataFrame, *, topic: str | None) -> tuple[DataFrame, DataFrame]:
        """Rows with `file` and `line`: those taken, and the others.

        The stream is done with topics other than that of its checkpoint and `topic`, which it is to follow.
        """
        ends = small_frame(events.sparkSession, list(self.ends.items()), "file string, until bigint")
        marked = events.join(F.broadcast(ends), on="file", how="left")
        taken = F.coalesce(F.col("line") < F.col("until"), F.lit(False))
        if self.topic:
            followed = F.col("file").startswith(f"{PREFIX}{self.topic}/")
            taken |= ~(followed | F.col("file").startswith(f"{PREFIX}{topic or self.topic}/"))
        return marked.where(taken).select(*events.columns), marked.where(~taken).select(*events.columns)


def taken(checkpoint: Path, *, folder: str) -> Taken:
    """What a stream has taken of a topic, or of the files of a folder; nothing before its first complete micro-batch."""
    batch = last_committed(checkpoint)
    if batch is None:
        return Taken()
    topic, offsets = planned_offsets(checkpoint, batch)
    if topic:
        ends = {Topic(servers="", name=topic).file(partition): offset for partition, offset in offsets.items()}
    else:
        entry = planned(checkpoint, batch).get(LOG_ENTRY, -1)
        ends = dict.fromkeys(files_taken(checkpoint, folder, until=entry), ALL_LINES)
    return Taken(run=run_id(checkpoint), batch=batch, topic=topic or None, ends=ends)


def files_taken(checkpoint: Path, folder: str, *, until: int) -> set[str]:
    """The files of a folder that Spark's log of its source has up to an entry; older entries are in a compact one."""
    while True:
        try:
            return set(logged_files(checkpoint / "sources" / "0", folder, until=until))
        except FileNotFoundError:
            continue  # an entry went into a compact one


def logged_files(log: Path, folder: str, *, until: int) -> Iterator[str]:
    for entry in log.glob("*"):
        if not entry.name.removesuffix(".compact").isdecimal():
            continue
        _, *files = entry.read_text().splitlines()
        for file in map(json.loads, files):
            if file["batchId"] <= until:
                yield in_folder(unquote(urlsplit(file["path"]).path), folder)


def in_folder(path: str, folder: str) -> str:
    """The name in its feed's folder, which may have been elsewhere when the stream took it."""
    above = f"{Path(folder).absolute()}/"
    return path.removeprefix(above) if path.startswith(above) else path.rpartition(f"/{Path(folder).name}/")[2]
