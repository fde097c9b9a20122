"""Delta tables that others maintain, followed from version to version: the rows that came and the rows that went.

They are read only. The way is the change feed where it leads from one version to the other, else the data files that came
and went. Where neither does, `HistoryLost` says why, and whoever follows the table compares it as a whole.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

from delta.tables import DeltaTable
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from tailrace.errors import DataError
from tailrace.lake import storage
from tailrace.lake.delta_log import (
    BEFORE_IMAGES,
    HistoryLost,
    Pin,
    actions_of,
    commit_info,
    deletion_vector_of,
    entry_path,
    files_of_feed,
    read_entry,
)
from tailrace.lake.log_diff import Actions, SignedFile, has_change_feed, is_laid_out_anew, signed_files
from tailrace.lake.session import first_line, java_class

CHANGE_FEED = "change feed"
DATA_FILES = "data files"
SIGN = "_sign"
NET = "_net"
DELTA_LOG = "org.apache.spark.sql.delta.DeltaLog"
ACTION = "org.apache.spark.sql.delta.actions.Action"
PYTHON_UTILS = "org.apache.spark.api.python.PythonUtils"


class TableUnreadable(DataError):
    """A Delta table of others that is not there, or cannot be read as it is; the message names it and says what to do."""


@dataclass(frozen=True)
class Changes:
    """What changed between two versions: by which way it was found, why not by the change feed, and rows with their `SIGN`.

    The frames have the columns that the table had at the time, so they may differ.
    """

    way: str
    why: str | None
    signed: tuple[DataFrame, ...]

    def net(self, rows: Callable[[DataFrame], DataFrame]) -> DataFrame | None:
        """The rows that came, `NET` above 0, and those that went, below; None where no file changed for its rows.

        `rows` gives the frames the columns that count, and keeps `SIGN`. Rows that came and went as they are cancel.
        """
        if not self.signed:
            return None
        every = reduce(DataFrame.unionByName, map(rows, self.signed))
        columns = [name for name in every.columns if name != SIGN]
        return every.groupBy(*columns).agg(F.sum(SIGN).alias(NET)).where(f"{NET} <> 0")


@dataclass(frozen=True)
class ForeignTable:
    """A Delta table of others at its newest version."""

    spark: SparkSession
    path: str
    log: Any
    snapshot: Any

    @classmethod
    def open(cls, spark: SparkSession, path: str) -> "ForeignTable":
        """Look at a table; raises `TableUnreadable` before anything of it is read where that is not possible."""
        try:
            if not DeltaTable.isDeltaTable(spark, path):
                raise TableUnreadable(f"there is no Delta table at {path}; name the folder that has its _delta_log")
            delta_log, session = java_class(spark, DELTA_LOG), spark._jsparkSession
            # What this process knows of the path may be of a table that somebody has removed since.
            delta_log.invalidateCache(session, java_class(spark, storage.PATH)(path))
            log, none = delta_log.forTable(session, path), java_class(spark, "scala.Option").empty()
            snapshot = log.update(False, none, none)
            log.protocolRead(snapshot.protocol())
        except (Py4JJavaError, PySparkException) as error:
            raise TableUnreadable(f"the table at {path} cannot be read: {first_line(error)}") from error
        return cls(spark, path, log, snapshot)

    def check_files_are_its_own(self) -> None:
        """Raise `TableUnreadable` for a shallow clone, as far as the log goes back to its beginning."""
        first = read_entry(self.spark, self.path, 0)
        if first and (commit_info(first) or {}).get("operation") == "CLONE":
            raise TableUnreadable(
                f"the table at {self.path} is a shallow clone, whose files belong to another table; read that one, or a deep copy"
            )

    @cached_property
    def pin(self) -> Pin:
        """The newest version, with the id of the table and the digest of the commit."""
        version = int(self.snapshot.version())
        return Pin(str(self.snapshot.metadata().id()), version, self._digest(version))

    @cached_property
    def schema(self) -> StructType:
        """The columns of this version."""
        return StructType.fromJson(json.loads(self.snapshot.metadata().schemaString()))

    def rows(self) -> DataFrame:
        """All rows of this version."""
        return self.spark.read.format("delta").option("versionAsOf", self.pin.version).load(self.path)

    def changes(self, *, since: Pin, columns: Collection[str]) -> Changes:
        """What changed after a version that was read before, up to this one; `columns` are those of the table that count.

        Raises `HistoryLost` where neither its change feed nor its files say so.
        """
        self._check_same_table(since)
        commits = self._commits(after=since.version)
        at_since = self.snapshot
        if is_laid_out_anew(commits):
            at_since = self._snapshot_at(since.version)
        schema, configuration = at_since.metadata().schemaString(), self._configuration(at_since)
        why = has_change_feed(commits, configuration=configuration, schema=schema) or self._why_feed_is_gone(commits)
        if why is None:
            return Changes(CHANGE_FEED, None, tuple(self._feed(commits, after=since.version)))
        files = signed_files(commits, since=since.version, schema=schema, columns=columns)
        self._check_there(files)
        return Changes(DATA_FILES, why, tuple(self._read(files, since=since.version, at_since=at_since)))

    def _check_same_table(self, since: Pin) -> None:
        if since.table_id != self.pin.table_id:
            raise HistoryLost(f"the table at {self.path} was created anew")
        if since.version > self.pin.version:
            raise HistoryLost(
                f"the table at {self.path} is at version {self.pin.version}, before version {since.version}"
            )
        digest = self._digest(since.version)
        if digest is not None and digest != since.commit:
            raise HistoryLost(f"version {since.version} of the table at {self.path} is not the commit that it was")

    def _digest(self, version: int) -> str | None:
        """A digest of a commit, which has no id where other programs wrote it; None where its entry is gone."""
        entry = read_entry(self.spark, self.path, version)
        return None if entry is None else hashlib.sha256(entry.encode()).hexdigest()[:32]

    def _commits(self, *, after: int) -> dict[int, Actions]:
        commits = {}
        for version in range(after + 1, self.pin.version + 1):
            actions = actions_of(self.spark, self.path, version)
            if actions is None:
                raise HistoryLost(f"{entry_path(self.path, version)} is gone")
            commits[version] = actions
        return commits

    def _why_feed_is_gone(self, commits: Mapping[int, Actions]) -> str | None:
        for version, actions in commits.items():
            for file in files_of_feed(actions):
                if not storage.exists(self.spark, self.path, file):
                    return f"{file} of version {version} is gone"
        return None

    def _check_there(self, files: Sequence[SignedFile]) -> None:
        for one in files:
            for path in (one.path, *deletion_vector_of(one.add)):
                if not storage.exists(self.spark, self.path, path):
                    raise HistoryLost(f"{path} of the table at {self.path} is gone")

    def _feed(self, commits: Mapping[int, Actions], *, after: int) -> Iterator[DataFrame]:
        if not any(any(files_of_feed(actions)) for actions in commits.values()):
            return
        reader = self.spark.read.format("delta").option("readChangeFeed", "true").option("startingVersion", after + 1)
        feed = reader.option("endingVersion", self.pin.version).load(self.path)
        yield feed.withColumn(SIGN, F.when(F.col("_change_type").isin(*BEFORE_IMAGES), -1).otherwise(1))

    def _read(self, files: Sequence[SignedFile], *, since: int, at_since: Any) -> Iterator[DataFrame]:
        """The rows of files, as Delta reads them: with their deletion vectors, and by the columns of their version."""
        together: dict[tuple[int, int, int], list[SignedFile]] = defaultdict(list)
        seen = Counter[tuple[int, int, str]]()
        for one in files:
            place = (one.version, one.sign, one.path)
            together[(one.version, one.sign, seen[place])].append(one)  # Delta takes one vector for a path
            seen[place] += 1
        none = java_class(self.spark, "scala.Option").empty()
        for (version, sign, _), group in together.items():
            snapshot = at_since if version == since else self._snapshot_at(version)
            rows = self.log.createDataFrame(snapshot, self._as_scala(group), False, none)
            yield DataFrame(rows, self.spark).withColumn(SIGN, F.lit(sign))

    def _as_scala(self, files: Sequence[SignedFile]) -> Any:
        listed, action = java_class(self.spark, "java.util.ArrayList")(), java_class(self.spark, ACTION)
        for one in files:
            listed.add(action.fromJson(json.dumps({"add": one.add})))
        return java_class(self.spark, PYTHON_UTILS).toSeq(listed)

    def _snapshot_at(self, version: int) -> Any:
        none = java_class(self.spark, "scala.Option").empty()
        try:
            return self.log.getSnapshotAt(version, none, none, False)
        except (Py4JJavaError, PySparkException) as error:
            raise HistoryLost(f"version {version} of the table at {self.path} is gone: {first_line(error)}") from error

    def _configuration(self, snapshot: Any) -> dict[str, str]:
        pairs = snapshot.metadata().configuration().mkString("\0").split("\0")
        named = (one.partition(" -> ") for one in pairs)  # as Scala writes a pair of a map
        return {name: value for name, _, value in named}
