"""What the stream reads: offsets of a topic, or planned files of the landing folder."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.bronze.file_check import check, open_text
from jobs.bronze.listing import files_in, is_temporary
from jobs.bronze.topic import PREFIX, Ends, Topic
from jobs.streaming.checkpoint import (
    ExcludedFiles,
    began_at,
    last_committed,
    log_of,
    logged_files,
    planned_ends,
    planned_offsets,
    run_id,
)
from tailrace.lake.session import small_frame
from tailrace.lake.storage import StoredFile, walk
from tailrace.schemas import landing
from tailrace.schemas.landing import Feed

log = logging.getLogger(__name__)

PLAN = ".plan"
BYTES_AT_ONCE = 8 * 2**20  # of a plan, compressed or not; one file is never divided
LOOK_SECONDS, LOOKING = 0.2, 0.05  # from one look to the next, at least, and of the time that looks may take


def plans_of(checkpoint: Path) -> Path:
    """The folder of the plans."""
    return checkpoint / "plans"


class Plans:
    """The files of a folder that are planned for the stream of a checkpoint; one process at a time makes plans."""

    def __init__(self, folder: str, checkpoint: Path) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self._lock = threading.Lock()
        entries = log_of(checkpoint).glob("*")
        self._known = {name for _, path in logged_files(entries) for name in planned_by(path, folder, checkpoint)}
        self._last = 0
        for plan in plans_of(checkpoint).glob(f"*{PLAN}"):
            self._known.update(json.loads(plan.read_text()))
            self._last = max(self._last, int(plan.stem))
        self._began = self._listed = 0.0

    @property
    def listed(self) -> float:
        """Up to when all that landed is planned for long enough that Spark knows it, in seconds since 1970."""
        return self._listed

    def look(self) -> None:
        """Plan what has landed since the last look; the folders are made where they are missing."""
        with self._lock:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            plans_of(self.checkpoint).mkdir(parents=True, exist_ok=True)
            before, self._began = self._began, time.time()
            new = [file for file in walk(self.folder) if self._is_new(file)]
            # Of what comes in several micro-batches the oldest is first: a watermark covers all that landed before.
            for names in in_parts(sorted(new, key=lambda file: (file.modified_at, file.name))):
                self._last += 1
                write_plan(plans_of(self.checkpoint) / f"{self._last:010}{PLAN}", names, number=self._last)
                self._known.update(names)
            self._listed = before

    def _is_new(self, file: StoredFile) -> bool:
        is_lines = file.name.lower().endswith(landing.LINE_SUFFIXES)
        return is_lines and file.name not in self._known and not is_temporary(file.name)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Keep looking in a thread while the block runs, from the first look that the block makes."""
        over = threading.Event()
        thread = threading.Thread(target=self._keep_looking, args=(over,), name="plans", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _keep_looking(self, over: threading.Event) -> None:
        took = 0.0
        while not over.wait(max(LOOK_SECONDS, took / LOOKING)):
            began = time.monotonic()
            try:
                if self._began:
                    self.look()
            except OSError as error:  # a full disk, or a folder that is away; what has landed is readable no further
                log.warning("the folder %s cannot be planned: %s", self.folder, error)
            took = time.monotonic() - began


def write_plan(plan: Path, names: list[str], *, number: int) -> None:
    """Have a plan appear whole; Spark takes files by their times, which count the plans, whatever the clock says."""
    partial = plan.with_suffix(".partial")
    partial.write_text(json.dumps(names))
    os.utime(partial, (number, number))
    partial.replace(plan)


def in_parts(files: Iterable[StoredFile]) -> Iterator[list[str]]:
    """Names of files, as many together as a micro-batch is to take."""
    names, size = list[str](), 0
    for file in files:
        if names and size + file.bytes > BYTES_AT_ONCE:
            yield names
            names, size = [], 0
        names.append(file.name)
        size += file.bytes
    if names:
        yield names


def planned_by(path: str, folder: str, checkpoint: Path) -> list[str]:
    """The names in the landing folder that an entry of Spark's log stands for: those of a plan.

    It is one file itself where Spark listed the landing folder, which may have been elsewhere then.
    """
    path = unquote(urlsplit(path).path)
    if path.endswith(PLAN):
        names: list[str] = json.loads((plans_of(checkpoint) / path.rpartition("/")[2]).read_text())
        return names
    above = f"{Path(folder).absolute()}/"
    return [path.removeprefix(above) if path.startswith(above) else path.rpartition(f"/{Path(folder).name}/")[2]]


ALL_LINES = 2**62
LOG_ENTRY = "logOffset"  # of the log in which Spark's source of a folder keeps its files


@dataclass(frozen=True, kw_only=True)
class Consumed:
    """The run of a stream, its last micro-batch that is complete, and by file the first line that it has not consumed.

    `topic` is what that micro-batch was of, None for a folder.
    """

    run: int = 0
    batch: int = -1
    topic: str | None = None
    ends: Mapping[str, int] = field(default_factory=dict)

    def split(self, events: DataFrame, *, topic: str | None) -> tuple[DataFrame, DataFrame]:
        """Rows with `file` and `line`: those consumed, and the others.

        The stream is done with topics other than that of its checkpoint and `topic`, which it is to follow.
        """
        ends = small_frame(events.sparkSession, list(self.ends.items()), "file string, until bigint")
        marked = events.join(F.broadcast(ends), on="file", how="left")
        is_consumed = F.coalesce(F.col("line") < F.col("until"), F.lit(False))
        if self.topic:
            followed = F.col("file").startswith(f"{PREFIX}{self.topic}/")
            is_consumed |= ~(followed | F.col("file").startswith(f"{PREFIX}{topic or self.topic}/"))
        return marked.where(is_consumed).select(*events.columns), marked.where(~is_consumed).select(*events.columns)


def consumed_by(checkpoint: Path, *, folder: str) -> Consumed:
    """What a stream has consumed of a topic, or of the files of a folder; nothing before its first complete micro-batch."""
    batch = last_committed(checkpoint)
    if batch is None:
        return Consumed()
    topic, offsets = planned_offsets(checkpoint, batch)
    if topic:
        ends = {Topic(servers="", name=topic).file(partition): offset for partition, offset in offsets.items()}
    else:
        ends = dict.fromkeys(files_consumed(checkpoint, folder, until=entry_of(checkpoint, batch)), ALL_LINES)
    return Consumed(run=run_id(checkpoint), batch=batch, topic=topic or None, ends=ends)


def files_of_batch(checkpoint: Path, folder: str, number: int) -> list[str]:
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
    return int(planned_ends(checkpoint, number).get(LOG_ENTRY, -1))


def files_consumed(checkpoint: Path, folder: str, *, until: int) -> set[str]:
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
    """The stream of the plans of a folder, one a micro-batch; `lines_of_batch` has the lines of their files."""
    options = {"maxFilesPerTrigger": "1", "maxFileAge": EVER, "pathGlobFilter": f"*{PLAN}"}
    return spark.readStream.options(**options).text(str(plans_of(plans.checkpoint)))


def appended_at(time: Column, *, until: Column) -> Column:
    """A time of append by whoever's clock; what lies after the beginning of the micro-batch counts as that."""
    return F.least(time, until).alias("appended_at")


def lines_of_batch(spark: SparkSession, feed: Feed, folder: str, checkpoint: Path, number: int) -> DataFrame:
    """The lines of a micro-batch, as `MESSAGES`; files that cannot be read are excluded, and noted in `ExcludedFiles`."""
    stored = {file.name: file for file in files_in(spark, folder)}
    readable, refused = list[StoredFile](), dict[str, str]()
    for name in files_of_batch(checkpoint, folder, number):
        file = stored.get(name)
        checked = check(spark, file, feed) if file else None
        if file is None or checked is None:
            refused[name] = GONE
        elif checked.refusal:
            refused[name] = checked.refusal
        elif file.bytes:
            readable.append(file)
    ExcludedFiles(checkpoint).add(refused)
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
