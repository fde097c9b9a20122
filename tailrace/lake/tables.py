"""Delta tables by contract: read at a version, written together with the state they were computed from."""

import json
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, Protocol

from delta.exceptions import ConcurrentTransactionException, MetadataChangedException, ProtocolChangedException
from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as F

from tailrace.errors import DataError
from tailrace.lake import storage
from tailrace.lake.delta_log import (
    CONFLICTS,
    Pin,
    State,
    check_history,
    commit_id,
    committing,
    is_restore,
    overtaken,
    read_entry,
    rows_written,
    state_of_commit,
    to_metadata,
)
from tailrace.lake.session import Materialized, java_class, schema_of
from tailrace.schemas.tables import Table

# Tables that are worked on at once. Most of a small refresh is Spark's planning, which one table does on one core.
AT_ONCE = 4

# What Delta says of a table whose log another one has begun, before its first commit and just after it.
BEING_CREATED = ("DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION", "DELTA_TABLE_NOT_FOUND")

# How often and how long a creation waits for one that is under way.
CREATION_WAITS = 20
CREATION_WAIT_SECONDS = 0.25

# Dropping a feature of a table is a handful of commits one after another.
APPEND_TRIES = 10

# A weekend without a push still ends in one of changes.
RETENTION = timedelta(days=3)

CHECK = "delta.constraints.check_"
UNCHECKED = "tailrace.unchecked.check_"
PROPERTIES = {
    # File times change when a table is copied, and the change feed goes by them otherwise.
    "delta.enableInCommitTimestamps": "true",
}


class Gate(Protocol):
    """What new rows pass before they are committed."""

    def prepare(self) -> None:
        """Get ready: rows are about to come."""

    def audit(self, table: Table, rows: Materialized, *, feed: str | None = None) -> None:
        """Raise where rows do not meet what their table promises."""


class LakeError(DataError):
    """A table that is not there or not as promised; the message names it and what to do."""


class Lake:
    """All tables below one root, a local folder or any URI that Spark's file systems take.

    `retention` is how long tables keep what their newest version no longer reads. `gate` is what new rows pass before
    they are committed, if anything.
    """

    def __init__(
        self, spark: SparkSession, root: str, *, retention: timedelta = RETENTION, gate: Gate | None = None
    ) -> None:
        self.spark = spark
        self.root = root
        self.retention = retention
        self.gate = gate

    def in_own_session(self) -> "Lake":
        """The same tables in a new Spark session, active in this thread: a commit's state goes through the session's settings."""
        session = self.spark.newSession()
        java_class(session, "org.apache.spark.sql.classic.SparkSession").setActiveSession(session._jsparkSession)
        return Lake(session, self.root, retention=self.retention, gate=self.gate)

    def expect_rows(self) -> None:
        """Say that rows will be committed soon; the gate gets ready meanwhile."""
        if self.gate is not None:
            self.gate.prepare()

    def audit(self, table: Table, rows: Materialized, *, feed: str | None = None) -> None:
        """Have the gate check rows that are about to be committed to a table; raises what the gate does."""
        if self.gate is not None:
            self.gate.audit(table, rows, feed=feed)

    def path(self, table: Table) -> str:
        """Where a table lies."""
        return f"{self.root}/{table.layer}/{table.name}"

    def exists(self, table: Table) -> bool:
        """Whether a table is there."""
        return DeltaTable.isDeltaTable(self.spark, self.path(table))

    def version(self, table: Table) -> int:
        """The newest version."""
        return int(self.snapshot(table).version())

    def table_id(self, table: Table) -> str:
        """The id that a table keeps for life; a table re-created at the same path has another."""
        return str(self.snapshot(table).metadata().id())

    def pin(self, table: Table, *, version: int | None = None) -> Pin:
        """The newest version, or a given one, with the ids of the table and of the commit."""
        snapshot = self.snapshot(table)
        number = int(snapshot.version()) if version is None else version
        commit = commit_id(read_entry(self.spark, self.path(table), number))
        return Pin(str(snapshot.metadata().id()), number, commit)

    def read(self, table: Table, *, version: int | None = None) -> DataFrame:
        """A table as it is, or as it was at `version`."""
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.load(self._existing(table))

    def read_as_promised(self, table: Table) -> DataFrame:
        """The columns of the contract; one that the contract gained since the table was written is null."""
        rows = self.read(table)
        missing = {
            field.name: F.lit(None).cast(field.type.info.sql)
            for field in table.fields
            if field.name not in rows.columns
        }
        return rows.withColumns(missing).select(*table.columns)

    def changes(self, table: Table, *, start: int, end: int) -> DataFrame:
        """The change feed of the versions from `start` to `end`, both included."""
        reader = self.spark.read.format("delta").option("readChangeFeed", "true")
        return reader.option("startingVersion", start).option("endingVersion", end).load(self._existing(table))

    def changes_since(self, table: Table, *, since: Pin, until: Pin) -> DataFrame | None:
        """The change feed from one pinned version to another; None where they are the same.

        Raises `HistoryLost` where the feed no longer reaches back to `since`, or has a hole.
        """
        check_history(self.spark, self._existing(table), since=since, until=until)
        if since == until:
            return None
        return self.changes(table, start=since.version + 1, end=until.version)

    def rows_written(self, table: Table, *, after: int, up_to: int) -> bool:
        """Whether a commit after one version, up to another, changed rows; maintenance does not."""
        return rows_written(self.spark, self.path(table), after=after, up_to=up_to)

    def state(self, table: Table, *, version: int | None = None) -> State | None:
        """The newest state committed with the table, up to a version; None where no commit carries one."""
        if not self.exists(table):
            return None
        # Read from the log itself: Delta's history is a Spark job. Maintenance commits carry no state.
        newest = self.version(table) if version is None else version
        for number in range(newest, -1, -1):
            text = read_entry(self.spark, self.path(table), number)
            if text is None or is_restore(text):
                return None  # what came before is gone, or was undone
            state = state_of_commit(text, number)
            if state is not None:
                return state
        return None

    def create(self, table: Table) -> None:
        """Create an empty table of the contract unless one is there, and complete one whose creation was cut off."""
        if not self.exists(table):
            self._create_empty(table)
        for number, check in enumerate(table.checks):
            if not self._has_check(table, number):
                where = f"delta.`{self.path(table)}`"
                try:
                    self.spark.sql(f"ALTER TABLE {where} ADD CONSTRAINT check_{number} CHECK ({check})")
                except (AnalysisException, *CONFLICTS):
                    if not self._has_check(table, number):  # or another process was faster
                        raise

    def drop(self, table: Table) -> bool:
        """Remove a table with all its files, or what a removal that was cut off left of it; False where there is nothing."""
        path = self.path(table)
        if not storage.is_there(self.spark, path):
            return False
        storage.delete(self.spark, path)
        delta_log = java_class(self.spark, "org.apache.spark.sql.delta.DeltaLog")
        delta_log.invalidateCache(self.spark._jsparkSession, java_class(self.spark, storage.PATH)(path))
        return True

    def checks(self, table: Table) -> dict[int, str]:
        """The conditions that Delta itself checks of a table's rows, by their place in the contract that they came from."""
        properties = self.snapshot(table).metadata().configuration().mkString("\0").split("\0")
        named = (
            one.removeprefix(CHECK).split(" -> ", 1) for one in properties if one.startswith(CHECK)
        )  # as Scala writes it
        return {int(number): condition for number, condition in named}

    def _has_check(self, table: Table, number: int) -> bool:
        properties = self.snapshot(table).metadata().configuration()
        if properties.contains(f"{CHECK}{number}"):
            return True
        left_out = properties.get(f"{UNCHECKED}{number}")
        return bool(left_out.isDefined()) and str(left_out.get()) == table.checks[number].encode().hex()

    def leave_unchecked(self, table: Table, number: int) -> None:
        """Give up a condition for the rows that are there: some break it."""
        properties = f"'{UNCHECKED}{number}' = '{table.checks[number].encode().hex()}'"
        self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` SET TBLPROPERTIES ({properties})")

    def _create_empty(self, table: Table) -> None:
        builder = DeltaTable.createIfNotExists(self.spark).location(self.path(table))
        builder = builder.addColumns(schema_of(table.ddl))
        for key, value in (PROPERTIES | retention_of(self.retention) | properties_of(table)).items():
            builder = builder.property(key, value)
        for waited in range(CREATION_WAITS):
            try:
                with suppress(*CONFLICTS):  # of several that create it at once, one does
                    builder.execute()
            except AnalysisException as error:
                if error.getCondition() not in BEING_CREATED or waited == CREATION_WAITS - 1:
                    raise
                time.sleep(CREATION_WAIT_SECONDS)
            else:
                return

    def append(self, table: Table, rows: DataFrame) -> None:
        """Append rows; what is appended twice is there twice. A table gets the columns that its contract gained."""
        self.create(table)
        writer = rows.select(*table.columns).write.format("delta").mode("append")
        self.save_append(writer.option("mergeSchema", value=True), table)

    def save_append(self, writer: DataFrameWriter, table: Table) -> None:
        """Save an append, once more where maintenance or a new column changed the table meanwhile, and nothing was committed."""
        for _ in range(APPEND_TRIES - 1):
            with suppress(MetadataChangedException, ProtocolChangedException):
                return writer.save(self.path(table))
        return writer.save(self.path(table))

    def append_numbered(
        self, table: Table, rows: DataFrame, *, name: str, number: int, state: dict[str, Any] | None = None
    ) -> None:
        """Append rows; where this number was reached under this name, do nothing. A table gets the columns that its contract gained."""
        self.create(table)
        writer = rows.select(*table.columns).write.format("delta").mode("append").option("mergeSchema", value=True)
        writer = writer.option("txnAppId", name).option("txnVersion", number)
        if state is not None:
            writer = writer.option("userMetadata", to_metadata(state))
        # Another process that appends under the same number at this moment appends the same rows.
        with suppress(ConcurrentTransactionException):
            self.save_append(writer, table)

    def append_once(self, table: Table, rows: DataFrame, *, number: int, **state: Any) -> None:
        """Append rows under a rising number, with further state; an append under a number already reached does nothing."""
        self.append_numbered(table, rows, name=table.full_name, number=number, state={"number": number, **state})

    def numbers_reached(self, table: Table) -> dict[str, int]:
        """The highest number under every name, which holds no NUL; no Spark job where the last commit has its summary."""
        if not self.exists(table):
            return {}
        snapshot = self.snapshot(table)
        text = read_entry(self.spark, self.path(table), int(snapshot.version()), kind="crc")
        summary = json.loads(text) if text else {}
        if "setTransactions" in summary:  # Delta leaves it out where there are very many
            return {one["appId"]: one["version"] for one in summary["setTransactions"]}
        pairs = snapshot.transactions().mkString("\0").split("\0")
        named = (pair.rpartition(" -> ") for pair in pairs if pair)  # as Scala writes a pair of a map
        return {name: int(number) for name, _, number in named}

    def last_appended(self, table: Table) -> int:
        """The highest number that `append_once` has reached; 0 before the first."""
        state = self.state(table)
        if state is not None:
            return int(state.values["number"])
        if not self.exists(table) or self.version(table) == 0:
            return 0
        # The log entry may have been cleaned up since; the transaction itself is kept in every checkpoint.
        reached = self.snapshot(table).transactions().get(table.full_name)
        return int(reached.get()) if reached.isDefined() else 0

    def upsert(self, table: Table, rows: DataFrame, *, newer: str, state: dict[str, Any]) -> None:
        """Insert rows with new keys; update where `newer`, a condition on `new` and `old`, holds."""
        self.create(table)
        target = DeltaTable.forPath(self.spark, self.path(table))
        gone = {
            one.name: F.lit(None).cast(one.dataType) for one in target.toDF().schema if one.name not in rows.columns
        }
        merge = target.alias("old").merge(rows.withColumns(gone).alias("new"), same_key(table))
        try:
            with committing(self.spark, state):
                merge.whenMatchedUpdateAll(condition=newer).whenNotMatchedInsertAll().execute()
        except CONFLICTS as error:
            raise overtaken(table) from error

    def _existing(self, table: Table) -> str:
        if not self.exists(table):
            raise LakeError(f"{table.full_name} does not exist at {self.path(table)}; run `tailrace refresh` first")
        return self.path(table)

    def snapshot(self, table: Table) -> Any:
        """Delta's own object for the newest version."""
        # Delta's Python API has the version only by a Spark job over the history; its own log takes 20 ms.
        none = java_class(self.spark, "scala.Option").empty()
        delta_log = java_class(self.spark, "org.apache.spark.sql.delta.DeltaLog")
        log = delta_log.forTable(self.spark._jsparkSession, self._existing(table))
        return log.update(False, none, none)


def properties_of(table: Table) -> dict[str, str]:
    """The properties of Delta that follow from a table's contract."""
    properties = {"delta.dataSkippingNumIndexedCols": "0"}
    # Said of every table: a session's default would reach those that are only appended to.
    properties["delta.enableDeletionVectors"] = "true" if table.rows_change else "false"
    if table.statistics:
        properties["delta.dataSkippingStatsColumns"] = ",".join(table.statistics)
    if table.change_feed:
        properties["delta.enableChangeDataFeed"] = "true"
    return properties


def retention_of(retention: timedelta) -> dict[str, str]:
    """The properties by which a table keeps what it no longer reads for so long.

    Delta refuses to keep the log for less than the files. It is kept for twice as long: a version for whose sake
    a vacuum keeps files can still be gone on from; after that the log, and with it the version, is given up.
    """
    seconds = int(retention.total_seconds())
    return {
        "delta.deletedFileRetentionDuration": f"interval {seconds} seconds",
        "delta.logRetentionDuration": f"interval {2 * seconds} seconds",
    }


def same_key(table: Table) -> str:
    """The SQL condition under which two rows have the same key."""
    return " AND ".join(f"old.`{name}` = new.`{name}`" for name in table.key)
