"""Whether a table's change feed is whole between two versions, found out before it is read.

Delta's reader skips a missing log file in silence, and meets a missing data file only in the middle of a job.
"""

import base64
import json
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from tailrace.errors import DataError
from tailrace.lake import storage
from tailrace.lake.log import commit_id, entry_path, read_entry

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
    """The change feed no longer tells how a table came from one version to another; the message says why."""


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
    entry = read_entry(spark, path, pin.version)
    if entry is None:
        return  # cleaned up; what came after it is looked for in any case
    if pin.commit is None:
        raise HistoryLost(f"version {pin.version} of the table at {path} was recorded without its commit")
    if commit_id(entry) != pin.commit:
        raise HistoryLost(f"version {pin.version} of the table at {path} is not the commit that it was")


def actions_of(spark: SparkSession, path: str, version: int) -> list[dict[str, Any]] | None:
    """What one commit did, as Delta's log tells it; None where its entry is gone."""
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
