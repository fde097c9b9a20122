"""What the stream reads: offsets of a topic, or planned files of the landing folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.bronze.file_check import check
from jobs.bronze.landing import files_in
from jobs.bronze.lines import open_text
from jobs.bronze.topic import PREFIX, Ends, Topic
from jobs.streaming.checkpoint import began_at, last_committed, log_of, logged_files, planned, planned_offsets, run_id
from jobs.streaming.left_out import LeftOut
from jobs.streaming.plans import PLAN, Plans, planned_by, plans_of
from tailrace.lake.session import small_frame
from tailrace.lake.storage import StoredFile
from tailrace.schemas import landing

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


EVER = "365000d"  # Spark passes over files that are a week older than the newest
GONE = "the file was gone when its micro-batch began"
MESSAGES = "value string, appended_at timestamp, partition int, place string"


def follow_plans(spark: SparkSession, plans: Plans) -> DataFrame:
    """The stream of the plans of a folder, one a micro-batch; `lines_of` has the lines of their files."""
    options = {"maxFilesPerTrigger": "1", "maxFileAge": EVER, "pathGlobFilter": f"*{PLAN}"}
    return spark.readStream.options(**options).text(str(plans_of(plans.checkpoint)))


def appended_at(time: Column, *, until: Column) -> Column:
    """A time of append by whoever's clock; what lies after the beginning of the micro-batch counts as that."""
    return F.least(time, until).alias("appended_at")


def lines_of(spark: SparkSession, folder: str, checkpoint: Path, number: int) -> DataFrame:
    """The lines of a micro-batch, as `MESSAGES`; files that cannot be taken are left out, and noted in `LeftOut`."""
    stored = {file.name: file for file in files_in(spark, folder)}
    readable, refused = list[StoredFile](), dict[str, str]()
    for name in files_of(checkpoint, folder, number):
        file = stored.get(name)
        checked = check(spark, file, landing.EVENTS) if file else None
        if file is None or checked is None:
            refused[name] = GONE
        elif checked.refusal:
            refused[name] = checked.refusal
        elif file.bytes:
            readable.append(file)
    LeftOut(checkpoint).add(refused)
    if not readable:
        return small_frame(spark, [], MESSAGES)
    file_of = F.col("_metadata")
    return open_text(spark, readable).select(
        "value",
        appended_at(file_of["file_modification_time"], until=F.lit(began_at(checkpoint, number))),
        F.lit(0).alias("partition"),
        file_of["file_path"].alias("place"),
    )


class Readable:
    """Looks at the ends of a topic now and then.

    What was appended before a look lies before the ends of all that it found. Once what can be read has come to these, all
    that was appended before that look can be read.
    """

    def __init__(self) -> None:
        self._looked = 0.0
        self._open: tuple[float, Mapping[int, Ends]] | None = None
        self.bound: float | None = None  # up to when all can be read; None while no transaction is open
        self.waiting = 0  # messages behind open transactions

    def look(self, ends: Mapping[int, Ends], *, at: float) -> None:
        """Take a look's ends, `at` being the time before it, in seconds since 1970."""
        self.waiting = sum(of.waiting for of in ends.values())
        if not self.waiting:
            self._open = self.bound = None
        elif self._open is None:
            self._open, self.bound = (at, ends), self._looked
        elif all(of.appended <= ends.get(partition, of).end for partition, of in self._open[1].items()):
            self._open, self.bound = (at, ends), self._open[0]
        self._looked = at
