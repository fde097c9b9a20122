"""The landing feed `events` as a folder that the stream follows.

Spark follows the plans of which files a micro-batch has. They are read here, as bronze reads them: those that bronze
refuses are left out, and named, where one of them would stop Spark's own reading at each repetition again.
"""

from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.bronze.check import check
from jobs.bronze.landing import files_in
from jobs.bronze.lines import open_text
from jobs.streaming.checkpoint import began_at
from jobs.streaming.left_out import LeftOut
from jobs.streaming.plans import PLAN, Plans, plans_of
from jobs.streaming.taken import files_of
from tailrace.lake.session import small_frame
from tailrace.lake.stored import StoredFile
from tailrace.schemas import landing

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
