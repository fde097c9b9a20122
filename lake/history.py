"""Whether a table's change feed is whole between two versions, found out before it is read.

Delta's reader skips a missing log file in silence, and meets a missing data file only in the middle of a job.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from lake import storage

# What the change feed calls the rows that were there before.
BEFORE_IMAGES = ("update_preimage", "delete")


class HistoryLost(Exception):
    """The change feed no longer tells how a table came from one version to another; the message says why."""


@dataclass(frozen=True)
class Pin:
    """One version of one table; a table that is created anew at the same path has another id."""

    table_id: str
    version: int


def check_history(spark: SparkSession, path: str, *, since: Pin, until: Pin) -> None:
    """Raise `HistoryLost` unless every commit after `since` up to `until`, and every file it names, is there."""
    if since.table_id != until.table_id:
        raise HistoryLost(f"the table at {path} was created anew")
    if since.version > until.version:
        raise HistoryLost(f"the table at {path} is at version {until.version}, before version {since.version}")
    for version in range(since.version + 1, until.version + 1):
        log = f"{path}/_delta_log/{version:020}.json"
        text = storage.read_text(spark, log)
        if text is None:
            raise HistoryLost(f"{log} is gone")
        actions = [json.loads(line) for line in text.splitlines()]
        check_feed_stays_on(actions, path, version)
        for file in files_of_feed(actions):
            if not storage.exists(spark, path, file):
                raise HistoryLost(f"{file} of version {version} of {path} is gone")


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
