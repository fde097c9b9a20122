"""One transaction on a Delta table, made of the parts that Delta's own MERGE is made of.

These parts are internal to Delta, so that its version is pinned (`pyproject.toml`, `tailrace/downloads/locks/jars.lock`). What may go wrong
stays with them: file statistics, constraints, conflicts with other writers, the commit itself.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.lake.delta_log import CONFLICTS, committing, overtaken
from tailrace.lake.jvm import java_class
from tailrace.lake.session import configured
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table

# Delta shortens strings in statistics to so many characters; our tables keep none of strings.
STATISTICS_PREFIX = 32

PYTHON_UTILS = "org.apache.spark.api.python.PythonUtils"


# Where Spark's `_metadata` says that a row is.
POSITION = ("file_path", "row_index")


class Transaction:
    """Changes to a table at one version, committed once and together with the state they were computed from.

    `state["started_from"]` is the version; it is also the number of Delta's transaction, which a table takes once.
    """

    def __init__(self, lake: Lake, table: Table, *, state: dict[str, Any]) -> None:
        self.lake = lake
        self.table = table
        self.state = state
        self._none = self._java("scala.Option").empty()
        self._log = self._delta("DeltaLog").forTable(self._session, lake.path(table))
        self._transaction = self._log.startTransaction(self._none, self._none)
        if self._transaction.readVersion() != state["started_from"]:
            raise overtaken(table)
        # Having asked, Delta refuses the commit if another refresh's, even one without rows, comes first.
        self._transaction.txnVersion(table.full_name)
        self._files = self._transaction.filterFiles()  # also tells Delta that the whole table was read
        self._actions: list[Any] = []

    @property
    def version(self) -> int:
        """The version that the transaction changes."""
        return int(self.state["started_from"])

    def read(self) -> DataFrame:
        """The table's rows, from the files that the transaction has listed: a reader of its own lists them again, in four jobs."""
        rows = self._log.createDataFrame(self._transaction.snapshot(), self._files, False, self._none)
        return DataFrame(rows, self.lake.spark)

    def write(self, rows: DataFrame) -> None:
        """Add rows; those with a `_change_type` that is not null go to the change feed instead of the table."""
        self._actions.append(self._transaction.writeFiles(rows._jdf))

    def delete(self, positions: DataFrame) -> None:
        """Mark rows as deleted, given by their `POSITION`."""
        path, index = (self._java("scala.Option").apply(F.col(name)._jc) for name in POSITION)
        every = self._java("org.apache.spark.sql.catalyst.expressions.Literal").TrueLiteral()
        bitmaps = self._delta("commands.DeletionVectorBitmapGenerator")
        helper = self._delta("commands.DMLWithDeletionVectorsHelper")
        by_path = helper.generateCandidateFileMap(self._log.dataPath(), self._files)
        snapshot = self._transaction.snapshot()
        # A few groups of a row each: adaptive execution would make a job of every stage, and find nothing to adapt.
        with configured(self.lake.spark, {"spark.sql.adaptive.enabled": "false"}):
            vectors = bitmaps.buildRowIndexSetsForFilesMatchingCondition(
                self._session, self._transaction, True, positions._jdf, self._files, every, path, index
            )
            touched = helper.findFilesWithMatchingRows(self._transaction, by_path, vectors)
            changed = helper.processUnmodifiedData(self._session, touched, snapshot, STATISTICS_PREFIX)
        self._actions.append(changed._1())

    def commit(self, metrics: Mapping[str, int]) -> None:
        """Commit what was written and deleted under the name MERGE, with so many rows told in Delta's history.

        Raises `Overtaken` where another writer was faster; nothing is committed then.
        """
        self._register(metrics)
        none, nothing = self._none, self._sequence(())
        merge = self._delta("DeltaOperations$Merge")(none, none, none, none, nothing, nothing, nothing)
        number = self._delta("actions.SetTransaction")(self.table.full_name, self.version, none)
        actions = self._sequence([number])
        for more in self._actions:
            actions = actions.appendedAll(more)
        try:
            with committing(self.lake.spark, self.state):
                self._transaction.commit(actions, merge)
        except CONFLICTS as error:
            raise overtaken(self.table) from error

    def _register(self, metrics: Mapping[str, int]) -> None:
        sql_metrics = self._java("org.apache.spark.sql.execution.metric.SQLMetrics")
        context = self.lake.spark.sparkContext._jsc.sc()
        registered = self._java("java.util.HashMap")()
        converters = self._java("scala.jdk.javaapi.CollectionConverters")
        expected = converters.asJava(self._delta("DeltaOperationMetrics").MERGE())
        for name in {*expected, "operationNumSourceRows", *metrics}:
            metric = sql_metrics.createMetric(context, name)
            metric.set(metrics.get(name, 0))
            registered.put(name, metric)
        as_scala = self._java(PYTHON_UTILS).toScalaMap(registered)
        self._transaction.registerSQLMetrics(self._session, as_scala)

    def _sequence(self, items: Iterable[Any]) -> Any:
        listed = self._java("java.util.ArrayList")()
        for item in items:
            listed.add(item)
        return self._java(PYTHON_UTILS).toSeq(listed)

    @property
    def _session(self) -> Any:
        return self.lake.spark._jsparkSession

    def _delta(self, name: str) -> Any:
        return self._java(f"org.apache.spark.sql.delta.{name}")

    def _java(self, name: str) -> Any:
        return java_class(self.lake.spark, name)
