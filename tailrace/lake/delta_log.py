"""Delta's log: entries, conflicts, the state in commits, and whether a history is whole."""

import base64
import json
import string
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from tailrace.errors import ConflictError, DataError
from tailrace.lake import storage
from tailrace.lake.session import configured
from tailrace.schemas.tables import Table

# In Java the others derive from DeltaConcurrentModificationException, in Python they do not.
CONFLICTS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)


class Overtaken(ConflictError):
    """Another writer changed the table since it was looked at, and nothing was committed; the message names it."""


def overtaken(table: Table) -> Overtaken:
    """The error of a process that came second to a table."""
    return Overtaken(
        f"{table.full_name} was changed by another writer at the same time, and nothing was committed; run again"
    )


def entry_path(path: str, version: int, *, kind: str = "json") -> str:
    """Where the log of the table at `path` describes one version: `json` its commit, `crc` the summary after it."""
    return f"{path}/_delta_log/{version:020}.{kind}"


def read_entry(spark: SparkSession, path: str, version: int, *, kind: str = "json") -> str | None:
    """The text of an entry; None where it is gone."""
    return storage.read_text(spark, entry_path(path, version, kind=kind))


def commit_info(entry: str) -> dict[str, Any] | None:
    """What a commit says of itself; None where it says nothing."""
    infos = (json.loads(line).get("commitInfo") for line in entry.splitlines())
    return next((info for info in infos if info is not None), None)


def commit_id(entry: str | None) -> str | None:
    """The id that a commit shares with no other, also not with one of the same version in a copy of the table."""
    info = commit_info(entry) if entry else None
    return info.get("txnId") if info else None


STATE_KEY = "tailrace"
USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
TRANSACTION = ("spark.databricks.delta.write.txnAppId", "spark.databricks.delta.write.txnVersion")


@dataclass(frozen=True)
class State:
    """A state, the commit that carries it (its version, its id, and the version it read), and what that commit did."""

    values: dict[str, Any]
    version: int
    commit: str | None
    read_version: int | None
    inserted: int
    updated: int
    deleted: int

    @property
    def inputs(self) -> dict[str, "Pin"]:
        """The version of each table that this one was computed from, by full name."""
        return {name: Pin(**pin) for name, pin in self.values["inputs"].items()}

    @property
    def exclusive(self) -> bool:
        """Whether no other commit came between the look at the table and the commit."""
        return self.values.get("started_from") == self.read_version == self.version - 1

    @property
    def rows(self) -> int:
        """Rows of the table after the commit, for a table that only `tailrace.lake.commit` writes."""
        return int(self.values["rows_before"]) + self.inserted - self.deleted

    @property
    def changed(self) -> int:
        """Keys that the commit inserted, updated or deleted."""
        return self.inserted + self.updated + self.deleted


def to_metadata(values: dict[str, Any]) -> str:
    """State as the user metadata of a Delta commit."""
    return json.dumps({STATE_KEY: values}, sort_keys=True)


def state_of_commit(log_file: str, version: int) -> State | None:
    """The state in a commit of the Delta log; None for a commit that is not ours, such as OPTIMIZE."""
    commit = commit_info(log_file)
    values = parse_metadata(commit.get("userMetadata")) if commit else None
    if commit is None or values is None:
        return None
    metrics = commit.get("operationMetrics", {})
    inserted = metrics.get("numOutputRows" if commit["operation"] == "WRITE" else "numTargetRowsInserted", 0)
    return State(
        values,
        version,
        commit.get("txnId"),
        commit.get("readVersion"),
        inserted=int(inserted),
        updated=int(metrics.get("numTargetRowsUpdated", 0)),
        deleted=int(metrics.get("numTargetRowsDeleted", 0)),
    )


def is_restore(log_file: str) -> bool:
    """Whether a commit of the Delta log took the table back to an earlier version."""
    commit = commit_info(log_file)
    return commit is not None and commit["operation"] == "RESTORE"


def parse_metadata(text: str | None) -> dict[str, Any] | None:
    """The state in the user metadata of a commit; None if it has none."""
    try:
        metadata = json.loads(text or "null")
    except json.JSONDecodeError:
        return None
    values = metadata.get(STATE_KEY) if isinstance(metadata, dict) else None
    return values if isinstance(values, dict) else None


@contextmanager
def committing(spark: SparkSession, values: dict[str, Any], *, table: str | None = None) -> Iterator[None]:
    """Attach state to the one commit made inside; MERGE takes it from the session only.

    Given a table, the commit is also its transaction numbered `started_from`, which Delta takes once.
    """
    conf = {USER_METADATA: to_metadata(values)}
    if table is not None:
        conf |= dict(zip(TRANSACTION, (table, str(values["started_from"])), strict=True))
    with configured(spark, conf):
        yield


# What the change feed calls the rows that were there before.
BEFORE_IMAGES = ("update_preimage", "delete")


# Delta writes UUIDs in Z85, which is Python's base 85 with other digits.
UUID_LENGTH = 20
ALPHANUMERIC = string.digits + string.ascii_lowercase + string.ascii_uppercase
FROM_Z85 = str.maketrans(
    ALPHANUMERIC + ".-:+=^!/*?&<>()[]{}@%$#",
    string.digits + string.ascii_uppercase + string.ascii_lowercase + "!#$%&()*+-;<=>?@^_`{|}~",
)


class HistoryLost(DataError):
    """The change feed no longer says how a table came from one version to another; the message says why."""


@dataclass(frozen=True)
class Pin:
    """One version of one table, and the id of the commit that made it.

    A table that is created anew at the same path has another id. One that is put back from a copy has the same, and may
    reach the same version by another commit.
    """

    table_id: str
    version: int
    commit: str | None = None


def check_history(spark: SparkSession, path: str, *, since: Pin, until: Pin) -> None:
    """Raise `HistoryLost` unless every commit after `since` up to `until`, and every file it names, is there."""
    if since.table_id != until.table_id:
        raise HistoryLost(f"the table at {path} was created anew")
    if since.version > until.version:
        raise HistoryLost(f"the table at {path} is at version {until.version}, before version {since.version}")
    if since == until:
        return
    check_same_commit(spark, path, since)
    columns = []
    for version in range(since.version + 1, until.version + 1):
        actions = actions_of(spark, path, version)
        if actions is None:
            raise HistoryLost(f"{entry_path(path, version)} is gone")
        check_feed_stays_on(actions, path, version)
        columns += [columns_of(action["metaData"]["schemaString"]) for action in actions if "metaData" in action]
        for file in files_of_feed(actions):
            if not storage.exists(spark, path, file):
                raise HistoryLost(f"{file} of version {version} of {path} is gone")
    if columns and {*columns} != {columns_at(spark, path, since.version)}:
        raise HistoryLost(f"the columns of the table at {path} changed since version {since.version}")


def check_same_commit(spark: SparkSession, path: str, pin: Pin) -> None:
    """Raise `HistoryLost` if a version is no longer the commit that was recorded."""
    entry = read_entry(spark, path, pin.version)
    if entry is None:
        return  # cleaned up; what came after it is looked for in any case
    if pin.commit is None:
        raise HistoryLost(f"version {pin.version} of the table at {path} was recorded without its commit")
    if commit_id(entry) != pin.commit:
        raise HistoryLost(f"version {pin.version} of the table at {path} is not the commit that it was")


def actions_of(spark: SparkSession, path: str, version: int) -> list[dict[str, Any]] | None:
    """What one commit did, as Delta's log has it; None where its entry is gone."""
    text = read_entry(spark, path, version)
    return None if text is None else [json.loads(line) for line in text.splitlines()]


def rows_written(spark: SparkSession, path: str, *, after: int, up_to: int) -> bool:
    """Whether a commit after one version, up to another, changed rows, or can no longer be looked at."""
    for version in range(after + 1, up_to + 1):
        actions = actions_of(spark, path, version)
        if actions is None or any(files_of_feed(actions)):
            return True
    return False


def columns_at(spark: SparkSession, path: str, version: int) -> str | None:
    """The columns of a version; None where that version can no longer be looked at."""
    try:
        schema = spark.read.format("delta").option("versionAsOf", version).load(path).schema
    except AnalysisException:
        return None
    return columns_of(schema.json())


def columns_of(schema: str) -> str:
    """Names and types, in order, of a schema that is given as JSON."""
    return json.dumps([(field["name"], field["type"]) for field in json.loads(schema)["fields"]], sort_keys=True)


def check_feed_stays_on(actions: list[dict[str, Any]], path: str, version: int) -> None:
    """Raise `HistoryLost` if a commit turned the change feed off."""
    for metadata in (action["metaData"] for action in actions if "metaData" in action):
        if metadata["configuration"].get("delta.enableChangeDataFeed") != "true":
            raise HistoryLost(f"version {version} of {path} turned the change feed off")


def files_of_feed(actions: list[dict[str, Any]]) -> Iterator[str]:
    """The files, as the log writes their paths, that the change feed of one commit is read from."""
    changes = [action["cdc"]["path"] for action in actions if "cdc" in action]
    if changes:
        yield from changes
        return
    for action in actions:
        file = action.get("add") or action.get("remove")
        if file and file["dataChange"]:
            yield file["path"]
            yield from deletion_vector_of(file)


def deletion_vector_of(file: dict[str, Any]) -> Iterator[str]:
    """The file that says which rows of a data file are deleted, where that is a file of its own in the table's folder."""
    vector = file.get("deletionVector")
    if vector and vector["storageType"] == "u":  # an optional prefix, and 20 characters of a UUID
        prefix, text = vector["pathOrInlineDv"][:-UUID_LENGTH], vector["pathOrInlineDv"][-UUID_LENGTH:]
        number = uuid.UUID(bytes=base64.b85decode(text.translate(FROM_Z85)))
        yield f"{prefix}/deletion_vector_{number}.bin".removeprefix("/")
