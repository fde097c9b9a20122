"""Progress of long work: the names of its steps, and how far Spark's jobs of this thread are, task by task."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

# Gets the name of each step that begins, such as "gold".
Progress = Callable[[str], None]

EVERY_SECONDS = 2.0
MANY = 8  # tasks from which on a stage is worth reporting


def say_nothing(_: str) -> None:
    """Report no progress."""


@contextmanager
def reporting_tasks(spark: "SparkSession", progress: Progress) -> Iterator[None]:
    """Report every few seconds how many tasks of the longest running stage of the block are done."""
    context = spark.sparkContext
    group, done = uuid.uuid4().hex, threading.Event()
    context.setJobGroup(group, "")
    reporter = threading.Thread(target=report_progress, args=(context, group, done, progress), daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]


def report_progress(context: "SparkContext", group: str, done: threading.Event, progress: Progress) -> None:
    tracker = context.statusTracker()
    while not done.wait(EVERY_SECONDS):
        jobs = (tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group))
        running = (stage for job in jobs if job and job.status == "RUNNING" for stage in job.stageIds)
        stages = [info for stage in running if (info := tracker.getStageInfo(stage)) and info.numActiveTasks]
        for stage in stages:
            if stage.numTasks >= MANY:
                progress(f"{stage.numCompletedTasks:,} of {stage.numTasks:,} parts are done")
