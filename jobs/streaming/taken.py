"""Up to where a stream has come, as its checkpoint tells: by bronze's files, whichever source they are of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.topic import PREFIX, Topic
from jobs.streaming.checkpoint import last_committed, log_of, logged_files, planned, planned_offsets, run_id
from jobs.streaming.plans import planned_by
from tailrace.lake.session import small_frame

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
        ends = dict.fromkeys(files_taken(checkpoint, folder, until=entry_of(checkpoint, batch)), ALL_LINES)
    return Taken(run=run_id(checkpoint), batch=batch, topic=topic or None, ends=ends)


def files_of(checkpoint: Path, folder: str, number: int) -> list[str]:
    """The files of a folder that a micro-batch has, in the order of their names."""
    before, last = entry_of(checkpoint, number - 1) if number else -1, entry_of(checkpoint, number)
    log = log_of(checkpoint)
    entries = [log / f"{entry}{end}" for entry in range(before + 1, last + 1) for end in ("", ".compact")]
    found = [entry for entry in entries if entry.exists()]
    if len(found) < last - before:  # the micro-batch is so old that they went into a later one
        found = list(log.glob("*"))
    paths = [path for entry, path in logged_files(found) if before < entry <= last]
    return sorted({name for path in paths for name in planned_by(path, folder, checkpoint)})


def entry_of(checkpoint: Path, number: int) -> int:
    """The entry up to which a micro-batch goes, of the log in which Spark's source of a folder keeps its files."""
    return int(planned(checkpoint, number).get(LOG_ENTRY, -1))


def files_taken(checkpoint: Path, folder: str, *, until: int) -> set[str]:
    """The files of a folder that Spark's log of its source has up to an entry; older entries are in a compact one."""
    while True:
        try:
            paths = [path for entry, path in logged_files(log_of(checkpoint).glob("*")) if entry <= until]
        except FileNotFoundError:
            continue  # an entry went into a compact one
        return {name for path in paths for name in planned_by(path, folder, checkpoint)}
