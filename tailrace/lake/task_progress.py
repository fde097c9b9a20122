"""Tell how far Spark's jobs of this thread are, task by task."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark import SparkContext
from pyspark.sql import SparkSession

EVERY_SECONDS = 2.0
MANY = 8  # tasks from which on a stage is worth telling


@contextmanager
def telling_tasks(spark: SparkSession, told: Callable[[str], None]) -> Iterator[None]:
    """Tell every few seconds how many tasks of the longest running stage of the block are done."""
    context = spark.sparkContext
    group, done = uuid.uuid4().hex, threading.Event()
    context.setJobGroup(group, "")
    teller = threading.Thread(target=tell, args=(context, group, done, told), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]


def tell(context: SparkContext, group: str, done: threading.Event, told: Callable[[str], None]) -> None:
    tracker = context.statusTracker()
    while not done.wait(EVERY_SECONDS):
        jobs = (tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group))
        running = (stage for job in jobs if job and job.status == "RUNNING" for stage in job.stageIds)
        stages = [info for stage in running if (info := tracker.getStageInfo(stage)) and info.numActiveTasks]
        for stage in stages:
            if stage.numTasks >= MANY:
                told(f"{stage.numCompletedTasks:,} of {stage.numTasks:,} parts are done")
