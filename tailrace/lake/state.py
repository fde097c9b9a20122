"""Refresh state: what a table was computed from, committed atomically with the data it describes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from tailrace.lake.log import commit_info
from tailrace.lake.session import configured

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
    def alone(self) -> bool:
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
