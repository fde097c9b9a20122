"""The entries of a table's Delta log, as files."""

from pyspark.sql import SparkSession

from lake import storage


def entry_path(path: str, version: int, *, kind: str = "json") -> str:
    """Where the log of the table at `path` tells of one version: `json` its commit, `crc` the summary after it."""
    return f"{path}/_delta_log/{version:020}.{kind}"


def read_entry(spark: SparkSession, path: str, version: int, *, kind: str = "json") -> str | None:
    """The text of an entry; None where it is gone."""
    return storage.read_text(spark, entry_path(path, version, kind=kind))
