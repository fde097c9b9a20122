"""The entries of a table's Delta log, as files."""

import json
from typing import Any

from pyspark.sql import SparkSession

from tailrace.lake import storage


def entry_path(path: str, version: int, *, kind: str = "json") -> str:
    """Where the log of the table at `path` tells of one version: `json` its commit, `crc` the summary after it."""
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
