"""The one builder of Spark sessions, and what is asked of a running one: options, small frames, rows computed once, Java's
classes.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
from pyspark.sql.types import StructType

from tailrace.settings import SparkSettings, submit_options

# What PySpark and Delta look up thousands of times in a refresh, in one step or part by part.
KEPT_WHOLE = (
    "functions",
    "org.apache.spark.sql.functions",
    "org.apache.spark.sql.classic.SparkSession",
    "PythonUtils",
    "PythonSQLUtils",
)
KEPT_BY_PARTS = ("io.delta.tables.DeltaTable", "py4j.reflection.TypeUtil")
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # The default of 50 tasks per snapshot suits logs of thousands of files; ours hold tens.
    "spark.databricks.delta.snapshotPartitions": "1",
    # A refresh that changes no row commits its state all the same.
    "spark.databricks.delta.skipRecordingEmptyCommits": "false",
    # A lost file is an error; ignored, a change feed after VACUUM would read as empty.
    "spark.sql.files.ignoreMissingFiles": "false",
    # Delta refuses what is older than a table's retention, whether its files are there or not. Ours are while a cursor
    # needs them (lake/maintenance.py), and whether a feed is whole is looked up before it is read (lake/delta_log.py).
    "spark.databricks.delta.vacuum.enforceTimeTravelWithinDeletedFileRetentionDuration": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.ui.showConsoleProgress": "false",
    # What is counted along the way (`materialized`) arrives through this queue, which drops what it has no room for.
    "spark.scheduler.listenerbus.eventqueue.shared.capacity": "100000",
    # Asking the JVM for every column expression which line of Python made it costs more than making it.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # A refresh has some 250 pieces of generated code; 100 are kept by default, and each was compiled anew.
    "spark.sql.codegen.cache.maxEntries": "2000",
}

# Set by spark-submit, whose JVM runs before the application does.
SUBMITTED = "PYSPARK_GATEWAY_PORT"


def java_class(spark: SparkSession, name: str) -> Any:
    """A class, asked for once and in one step: at every dot of `_jvm.org.apache` the JVM looks for a class in all its JARs."""
    jvm = spark._jvm
    found = getattr(jvm, name)
    setattr(jvm, name, found)
    return found


def keep_names(spark: SparkSession) -> None:
    """Have Python keep what PySpark and Delta look up in the JVM for each column expression and each table.

    Py4J has the JVM look it up each time anew, in every package that is imported there, among hundreds of JARs.
    """
    for name in KEPT_WHOLE:
        java_class(spark, name)
    for name in KEPT_BY_PARTS:
        holder = spark._jvm
        for part in name.split("."):
            found = getattr(holder, part)
            setattr(holder, part, found)
            holder = found


def is_submitted() -> bool:
    """Whether spark-submit started this process: then it has said where Spark runs, and with what."""
    return SUBMITTED in os.environ


def open_session(settings: SparkSettings, *, name: str = "tailrace") -> SparkSession:
    """Start Spark, or return the session that runs already in this process."""
    # PySpark hands timestamps over in the process's zone; in any but UTC an hour of each autumn comes twice.
    os.environ["TZ"] = "UTC"
    time.tzset()
    # Java opens files by its locale's encoding, and lowers letters by its language.
    os.environ["LC_ALL"] = "C.UTF-8"
    builder = SparkSession.builder.appName(name)
    options = DELTA | {"spark.sql.shuffle.partitions": str(settings.shuffle_partitions)}
    if not is_submitted():
        options |= submit_options(settings)
        builder = builder.master(settings.master)
        if settings.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    for key, value in options.items():
        builder = builder.config(key, value)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    keep_names(session)
    return session


@contextmanager
def configured(spark: SparkSession, options: Mapping[str, str]) -> Iterator[None]:
    """Set options of the session for the statements inside; a leaked one would reach every later write."""
    for key, value in options.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key in options:
            spark.conf.unset(key)


def small_frame(spark: SparkSession, rows: Sequence[tuple[Any, ...]], ddl: str) -> DataFrame:
    """A frame of a few rows that the driver holds.

    Not made of Python rows: every job that reads such a frame starts Python workers to unpickle it.
    """
    schema = schema_of(ddl)
    records = [dict(zip(schema.names, row, strict=True)) for row in rows]
    return spark.createDataFrame(pa.Table.from_pylist(records, to_arrow_schema(schema, timezone="UTC")), schema)


def schema_of(ddl: str) -> StructType:
    """The columns of a contract as Spark's schema."""
    return cast("StructType", StructType.fromDDL(ddl))


def spark_schema(rows: pa.Schema) -> StructType:
    """The columns of Arrow's rows as Spark's schema."""
    return from_arrow_schema(rows)


# So many rows are worked on in one task, without a shuffle: a task costs more than they do.
FEW = 20_000
# So many, some 100 MB, are sent to every task that joins them with a large table; more are shuffled, and the table too.
BROADCAST = 500_000
ROWS = "rows"


@dataclass(frozen=True)
class Materialized:
    """Computed rows, and what was counted among them: all of them as `ROWS`, others by the names they were given."""

    frame: DataFrame
    counts: dict[str, int]


@contextmanager
def materialized(
    rows: DataFrame, *, totals: Mapping[str, Column] = MappingProxyType({}), **counted: Column
) -> Iterator[Materialized]:
    """Compute rows in one pass and keep them for the statements inside.

    `counted` has conditions to count by, `totals` whole numbers to add up.

    Not `DataFrame.persist`: that keeps the plan, which is then analysed again with all that is built on it, and takes
    jobs of its own to count. Each block is kept by two executors where there are more than one.
    """
    seen = Observation()
    counts = [F.count_if(condition).alias(name) for name, condition in counted.items()]
    counts += [F.sum(number).alias(name) for name, number in totals.items()]
    observed = rows.observe(seen, F.count(F.lit(1)).alias(ROWS), *counts)
    frame = observed.localCheckpoint(storageLevel=StorageLevel.MEMORY_AND_DISK_2)
    try:
        found = {name: int(count or 0) for name, count in seen.get.items()}
        yield Materialized(frame.coalesce(1) if found[ROWS] <= FEW else frame, found)
    finally:
        release(frame)


def is_met(condition: str) -> Column:
    """Whether a row meets a SQL condition of a definition; one of which it cannot be worked out does not.

    A number that overflows, a division by zero or a text that is not a number is an error in Spark, and one row would stop
    all others. Spark's own `try_` functions are made of the expression that turns an error into a null.
    """
    spark = SparkSession.active()
    utils = java_class(spark, "org.apache.spark.sql.classic.ExpressionUtils")
    attempt = java_class(spark, "org.apache.spark.sql.catalyst.expressions.TryEval")
    tried = utils.column(attempt(utils.expression(F.expr(condition)._jc)))
    return F.coalesce(Column(tried), F.lit(False))


def to_join(frame: DataFrame, *, rows: int) -> DataFrame:
    """Rows that a large table is joined with; Spark goes by an estimate made before they were computed."""
    return F.broadcast(frame) if rows <= BROADCAST else frame


def first_line(error: Exception) -> str:
    """What an error says, that of Java by its own message, on one line; its kind where it says nothing."""
    java = error.java_exception.getMessage() if isinstance(error, Py4JJavaError) else None
    return next(iter(str(java or error).strip().splitlines()), type(error).__name__)


def release(frame: DataFrame) -> None:
    """Give up the blocks of a checkpoint now rather than when the JVM next looks for what is no longer used."""
    plan: Any = frame._jdf.queryExecution().logical()
    plan.rdd().unpersist(False)
