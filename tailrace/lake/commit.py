"""Commits of rows together with the state that they were computed from: by a merge, by an overwrite, or row by row in one
transaction that reads the table once.

Delta's MERGE reads its target three times: which files match, which rows change, which positions to mark as deleted.
`rewrite` finds the rows with their files and positions in one join. Everything else is made from its result, which is as
small as the change: new rows, change feed, deletion vectors.

A transaction is made of the parts that Delta's own MERGE is made of. They are internal to Delta, so its version is
pinned (`pyproject.toml`, `tailrace/downloads/locks/jars.lock`). What may go wrong stays with them: file statistics,
constraints, conflicts with other writers, the commit itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.lake.delta_log import CONFLICTS, committing, overtaken, to_metadata
from tailrace.lake.session import ROWS, Materialized, configured, java_class, materialized, to_join
from tailrace.lake.tables import Lake, same_key
from tailrace.schemas.tables import Table

# Delta shortens strings in statistics to so many characters; our tables keep none of strings.
STATISTICS_PREFIX = 32

PYTHON_UTILS = "org.apache.spark.api.python.PythonUtils"


# Where Spark's `_metadata` says that a row is.
POSITION = ("file_path", "row_index")
UPDATE = "update"
DELETE = "delete"
INSERT = "insert"
LEAVE = "leave"

# What Delta's change feed calls the row of an update before and after.
IMAGES = ("update_preimage", "update_postimage")

# One task writes so many changed rows to one file of the table and one of its change feed.
ROWS_PER_TASK = 50_000


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
        self._files = self._transaction.filterFiles()  # says to Delta, too, that the whole table was read
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
        """Commit what was written and deleted under the name MERGE, with so many rows in Delta's history.

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


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of the keys of `rows`, in SQL over the row that the table holds, `old`, and theirs, `new`.

    A row goes where `gone`, else changes by `update` where `differs`; a key without a row gets `insert` where `exists`.
    `rows` has one row per key.
    """

    rows: DataFrame
    update: Mapping[str, str]
    insert: Mapping[str, str]
    differs: str
    gone: str
    exists: str


def rewrite(lake: Lake, table: Table, change: Change, *, state: dict[str, Any]) -> None:
    """Apply a change in one commit, also one that changes nothing; raises `Overtaken` where another writer was faster."""
    transaction = Transaction(lake, table, state=state)
    found = match(transaction.read(), table, change)
    with (
        materialized(found, updated=is_one_of(UPDATE), deleted=is_one_of(DELETE)) as matched,
        materialized(missing(matched, table, change)) as inserted,
    ):
        updates, deletes, inserts = matched.counts["updated"], matched.counts["deleted"], inserted.counts[ROWS]
        if updates or deletes or inserts:
            decided = matched.frame.unionByName(inserted.frame, allowMissingColumns=True)
            after = decided.where(is_one_of(UPDATE, INSERT)).select("after.*")
            lake.audit(table, Materialized(after, {ROWS: updates + inserts}))
            transaction.write(to_written(decided).coalesce(1 + (updates + deletes + inserts) // ROWS_PER_TASK))
        if updates or deletes:
            transaction.delete(matched.frame.where(is_one_of(UPDATE, DELETE)).select(*POSITION))
        transaction.commit(
            {
                "numTargetRowsInserted": inserts,
                "numTargetRowsUpdated": updates,
                "numTargetRowsDeleted": deletes,
            }
        )


def match(gold: DataFrame, table: Table, change: Change) -> DataFrame:
    """The rows that the keys have: action, the row before and after, its file and its position there."""
    place = (F.col(f"_metadata.{name}").alias(f"_{name}") for name in POSITION)
    old = gold.select("*", *place).alias("old")
    same_key = [F.col(f"old.{key}") == F.col(f"new.{key}") for key in table.key]
    found = old.join(change.rows.alias("new"), on=same_key, how="inner")  # unique per key on both sides
    action = F.when(F.expr(change.gone), DELETE).when(F.expr(change.differs), UPDATE).otherwise(LEAVE)
    kept = {name: f"old.`{name}`" for name in table.columns}
    return found.select(
        action.alias("action"),
        row_of(table, kept).alias("before"),
        row_of(table, kept | dict(change.update)).alias("after"),
        *(F.col(f"old._{name}").alias(name) for name in POSITION),
    )


def missing(matched: Materialized, table: Table, change: Change) -> DataFrame:
    """The keys that have no row and shall get one: action and the row after."""
    has_row = matched.frame.select(*(F.col(f"before.{key}").alias(key) for key in table.key))
    has_row = to_join(has_row, rows=matched.counts[ROWS])
    without = change.rows.join(has_row, on=list(table.key), how="left_anti").alias("new")
    return without.where(change.exists).select(
        F.lit(INSERT).alias("action"), row_of(table, change.insert).alias("after")
    )


def to_written(decided: DataFrame) -> DataFrame:
    """The table's new rows, `_change_type` null, and the rows of its change feed."""
    new = version_of("after", None)
    written = (
        F.when(F.col("action") == UPDATE, F.array(new, *map(version_of, ("before", "after"), IMAGES)))
        .when(F.col("action") == INSERT, F.array(new, version_of("after", "insert")))
        .when(F.col("action") == DELETE, F.array(version_of("before", "delete")))
    )
    versions = decided.where(is_one_of(UPDATE, DELETE, INSERT)).select(F.explode(written).alias("written"))
    return versions.select("written.row.*", "written._change_type")


def version_of(side: str, change_type: str | None) -> Column:
    """One side of a changed row, with its name in the change feed."""
    return F.struct(F.lit(change_type).cast("string").alias("_change_type"), F.col(side).alias("row"))


def row_of(table: Table, values: Mapping[str, str]) -> Column:
    """A row of the table from SQL by column."""
    return F.struct(*(F.expr(values[field.name]).cast(field.type.info.sql).alias(field.name) for field in table.fields))


def is_one_of(*actions: str) -> Column:
    """Whether a row's action is one of these."""
    return F.col("action").isin(*actions)


def amend(lake: Lake, table: Table, rows: DataFrame, *, same: str, stays: str, state: dict[str, Any]) -> None:
    """Replace the table's rows by `rows` of the same key, and remove those where `stays`, a condition on `new`, does not hold.

    `same` is a condition on `old` and `new` under which the table's row is still the one that is meant.
    """
    values: dict[str, str | Column] = {name: f"new.`{name}`" for name in table.columns}
    merge = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old")
    merger = merge.merge(rows.alias("new"), f"{same_key(table)} AND {same}")
    try:
        with committing(lake.spark, state):
            merger.whenMatchedUpdate(condition=stays, set=values).whenMatchedDelete().execute()
    except CONFLICTS as error:
        raise overtaken(table) from error


State = dict[str, Any]


def become(lake: Lake, table: Table, rows: DataFrame, *, state: State) -> None:
    """Make these rows the table's, touching only those that differ, nulls included.

    The commit's state counts them. A table whose columns are not those of the contract is
    replaced, an empty one is filled.
    """
    if lake.version(table) != state["started_from"]:
        raise overtaken(table)
    with audited(lake, table, rows.select(*table.columns)) as good:
        replace_rows(lake, table, good, state=state)


@contextmanager
def audited(lake: Lake, table: Table, rows: DataFrame) -> Iterator[DataFrame]:
    """Rows that passed the gate, computed once; where there is no gate, as they are."""
    if lake.gate is None:
        yield rows
        return
    with materialized(rows) as computed:
        lake.audit(table, computed)
        yield computed.frame


def replace_rows(lake: Lake, table: Table, rows: DataFrame, *, state: State) -> None:
    """Make audited rows the table's, by a merge, or by an overwrite where it is empty or has other columns."""
    before = rows_in(lake, table)
    same_columns = lake.read(table).dtypes == [(field.name, field.type.info.sql) for field in table.fields]
    if not before or not same_columns:
        # Not an append: of two first fills at once, Delta refuses one overwrite, but would take both appends.
        state = state | {"rows_before": 0}
        with exclusive(table):
            overwrite(lake, table, rows, state=state, new_columns=not same_columns)
        return
    others = [column for column in table.columns if column not in table.key]
    differs = " OR ".join(f"NOT (old.`{name}` <=> new.`{name}`)" for name in others)
    builder = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old").merge(rows.alias("new"), same_key(table))
    # Delta writes change rows for every matched row, equal or not, so the comparison stands in the clause.
    builder = builder.whenMatchedUpdateAll(condition=differs).whenNotMatchedInsertAll().whenNotMatchedBySourceDelete()
    with exclusive(table), committing(lake.spark, state | {"rows_before": before}, table=table.full_name):
        builder.execute()


def change(lake: Lake, table: Table, changes: Change, *, state: State) -> None:
    """Change the rows of some keys, and leave all others untouched."""
    rewrite(lake, table, changes, state=with_rows(lake, table, state))


def keep(lake: Lake, table: Table, *, state: State) -> None:
    """Commit a new state and leave the rows as they are."""
    Transaction(lake, table, state=with_rows(lake, table, state)).commit({})


def with_rows(lake: Lake, table: Table, state: State) -> State:
    """A state with the table's number of rows under `rows_before`; a caller who knows it has it there already."""
    return state if "rows_before" in state else state | {"rows_before": rows_in(lake, table)}


def rows_in(lake: Lake, table: Table) -> int:
    """How many rows a table of this module has; counted only if no commit says so."""
    state, version = lake.state(table), lake.version(table)
    if state is not None and state.exclusive and not lake.rows_written(table, after=state.version, up_to=version):
        return state.rows
    return lake.read(table).count() if version > 0 else 0


def overwrite(lake: Lake, table: Table, rows: DataFrame, *, state: State, new_columns: bool) -> None:
    """Replace all rows, and the columns if they are new."""
    writer = rows.write.format("delta").mode("overwrite").option("userMetadata", to_metadata(state))
    writer = writer.option("txnAppId", table.full_name).option("txnVersion", state["started_from"])
    writer.option("overwriteSchema", new_columns).save(lake.path(table))


@contextmanager
def exclusive(table: Table) -> Iterator[None]:
    """Raise `Overtaken` if another writer commits first."""
    try:
        yield
    except CONFLICTS as error:
        raise overtaken(table) from error
