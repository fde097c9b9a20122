"""Keep a table healthy: few files, few rows marked deleted, and nothing on disk for longer than it is needed.

Maintenance moves rows between files and removes files. It changes no row, and its commits carry no refresh state.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.lake import storage
from tailrace.lake.delta_log import read_entry
from tailrace.lake.session import configured
from tailrace.lake.tables import Lake, retention_of
from tailrace.schemas.tables import Table

MIB = 2**20

# A file below SMALL is merged with others, one from there on is left as it is: so a compaction rewrites no more than what
# came since the last one and a file of this size, however large the table is. Delta's histogram has this boundary.
SMALL = 32 * MIB
LARGEST = 128 * MIB
# So many small files are due. A refresh adds one to four, and a scan opens each: some 10 ms together per refresh.
SMALL_FILES = 24
# The share of rows marked deleted from which files are rewritten. Updates fall anywhere in a table: with a low share
# every large file would be rewritten after a few refreshes that change a hundredth of the rows each.
DELETED_SHARE = 0.25
# Fewer cost a scan nothing to speak of, and go when small files are rewritten: a small table would pass its share with
# every other refresh.
DELETED_ROWS = 10_000

OPTIMIZE = {
    "spark.databricks.delta.optimize.minFileSize": str(SMALL),
    "spark.databricks.delta.optimize.maxFileSize": str(LARGEST),
    "spark.databricks.delta.optimize.maxDeletedRowsRatio": str(DELETED_SHARE),
}
VACUUM = {
    # Logged, a vacuum is two commits without a change, which every reader of the change feed would go through.
    "spark.databricks.delta.vacuum.logging.enabled": "false",
    # The files are listed in so many tasks, 10,000 by default, however few there are.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
}

HOUR = timedelta(hours=1)
DELETION_VECTORS = "deletionVectors"


@dataclass(frozen=True, kw_only=True)
class Health:
    """The newest version of a table: data files, how many of them are small, their bytes, the rows in them and how many
    of these are marked deleted; and the commits since the last checkpoint. `rows` is None where no commit lists files.
    """

    version: int
    files: int
    small_files: int
    bytes: int
    rows: int | None
    deleted_rows: int
    commits_since_checkpoint: int

    @property
    def has_many_small_files(self) -> bool:
        """Whether small files are to be merged."""
        return self.small_files >= SMALL_FILES

    @property
    def has_many_deleted_rows(self) -> bool:
        """Whether files with deleted rows are to be rewritten."""
        return self.rows is not None and self.deleted_rows > max(DELETED_ROWS, DELETED_SHARE * self.rows)


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """How a table stood and how it stands; the same where nothing was due."""

    before: Health
    after: Health


@dataclass(frozen=True, kw_only=True)
class Vacuumed:
    """What a vacuum removed; `blocked` says that it removed nothing, for a version that is still needed."""

    files: int = 0
    bytes: int = 0
    blocked: bool = False


def health(lake: Lake, table: Table) -> Health:
    """How a table stands, from the summary that Delta writes with each commit: no Spark job where there is one."""
    snapshot = lake.snapshot(table)
    version = int(snapshot.version())
    since_checkpoint = version - max(int(snapshot.logSegment().checkpointProvider().version()), -1)
    text = read_entry(lake.spark, lake.path(table), version, kind="crc")
    figures = figures_of(json.loads(text)) if text else None
    if figures is None:
        figures = measured(live_files(lake, snapshot))
    return Health(version=version, commits_since_checkpoint=since_checkpoint, **figures)


def figures_of(summary: dict[str, Any]) -> dict[str, Any] | None:
    """The figures in a commit's summary; None where it lacks some."""
    histogram, deleted_rows = summary.get("fileSizeHistogram"), deleted_rows_in(summary)
    if histogram is None or deleted_rows is None:
        return None
    sizes = zip(histogram["sortedBinBoundaries"], histogram["fileCounts"], strict=True)
    # Delta lists the files themselves only while they are few.
    listed = summary.get("allFiles")
    counted = [json.loads(file.get("stats") or "{}").get("numRecords") for file in listed or ()]
    known = listed is not None and len(counted) == summary["numFiles"] and None not in counted
    return {
        "files": summary["numFiles"],
        "small_files": sum(count for boundary, count in sizes if boundary < SMALL),
        "bytes": summary["tableSizeBytes"],
        "rows": sum(counted) if known else None,
        "deleted_rows": deleted_rows,
    }


def deleted_rows_in(summary: dict[str, Any]) -> int | None:
    """How many rows are marked deleted; Delta says nothing of them where a table has no deletion vectors."""
    has_vectors = DELETION_VECTORS in summary["protocol"].get("writerFeatures", ())
    return summary.get("numDeletedRecordsOpt", None if has_vectors else 0)


def live_files(lake: Lake, snapshot: Any) -> DataFrame:
    """The files of a snapshot, as `size, rows, deleted`."""
    files = DataFrame(snapshot.allFiles().toDF(), lake.spark)
    rows = F.get_json_object("stats", "$.numRecords").cast("bigint")
    return files.select("size", rows.alias("rows"), F.col("deletionVector.cardinality").alias("deleted"))


def measured(files: DataFrame) -> dict[str, Any]:
    """The figures of a list of files, summed by Spark."""
    small = F.count_if(F.col("size") < SMALL)
    sums = (F.coalesce(F.sum(name), F.lit(0)) for name in ("size", "rows", "deleted"))
    [row] = files.agg(F.count("*"), small, *sums).collect()
    return dict(zip(("files", "small_files", "bytes", "rows", "deleted_rows"), row, strict=True))


def compact(lake: Lake, table: Table) -> Compacted:
    """Rewrite small files, and files with many deleted rows, where there are many of them.

    Raises one of `tailrace.lake.delta_log.CONFLICTS` where another process changed such a file meanwhile; it is as it was then.
    """
    before = after = health(lake, table)
    where = f"delta.`{lake.path(table)}`"
    if before.has_many_small_files:
        with configured(lake.spark, OPTIMIZE):
            lake.spark.sql(f"OPTIMIZE {where}").collect()
        after = health(lake, table)
        if after.rows is None:
            # Once per compaction, which writes far more than this reads.
            after = replace(after, **measured(live_files(lake, lake.snapshot(table))))
    if after.has_many_deleted_rows:
        # OPTIMIZE passes over what has no other file to be merged with, however many of its rows are deleted.
        lake.spark.sql(f"REORG TABLE {where} APPLY (PURGE)").collect()
        after = health(lake, table)
    return Compacted(before=before, after=after)


def vacuum(lake: Lake, table: Table, *, oldest_needed: int | None = None) -> Vacuumed:
    """Remove the files that no version within the lake's retention reads, and change files older than that.

    Where files that `oldest_needed` or a later version reads, or change files after it, would go, nothing is removed.
    """
    set_retention(lake, table)
    if oldest_needed is not None and removes_needed(lake, table, oldest_needed):
        return Vacuumed(blocked=True)
    files, size = files_outside_log(lake, table)
    with configured(lake.spark, VACUUM):
        # Not RETAIN: Delta ignores any number but 0, and goes by the table's property.
        lake.spark.sql(f"VACUUM delta.`{lake.path(table)}`").collect()
    files_after, size_after = files_outside_log(lake, table)
    return Vacuumed(files=max(0, files - files_after), bytes=max(0, size - size_after))


def has_needless_deletion_vectors(lake: Lake, table: Table) -> bool:
    """Whether a table that is only appended to was made with deletion vectors, which keep many readers of Delta out."""
    if table.rows_change:
        return False
    features = lake.snapshot(table).protocol().readerFeatureNames()
    return bool(features.contains(DELETION_VECTORS))


def drop_deletion_vectors(lake: Lake, table: Table) -> None:
    """Take deletion vectors from a table, once for ever; all its versions stay readable here.

    Delta rewrites the files of which rows are marked deleted, and guards the log up to then by checkpoints that others
    may not rewrite (`checkpointProtection`, of which readers need know nothing), instead of cutting it off.
    """
    lake.spark.sql(f"ALTER TABLE delta.`{lake.path(table)}` DROP FEATURE {DELETION_VECTORS}").collect()


def files_outside_log(lake: Lake, table: Table) -> tuple[int, int]:
    """How many files a table has, without its log, and their bytes; the log changes under a vacuum, too."""
    whole, log = (storage.files_and_bytes(lake.spark, f"{lake.path(table)}{below}") for below in ("", "/_delta_log"))
    return whole[0] - log[0], whole[1] - log[1]


def can_go_on_from(lake: Lake, table: Table, version: int) -> bool:
    """Whether the log still has what came after a version; whoever needs one of which it does not starts anew."""
    return version >= lake.version(table) or read_entry(lake.spark, lake.path(table), version + 1) is not None


def set_retention(lake: Lake, table: Table) -> None:
    """Give a table the lake's retention, unless it has it: it may have been made before, or under another setting."""
    declared = retention_of(lake.retention)
    found = lake.snapshot(table).metadata().configuration()
    if any(not found.contains(key) or found.apply(key) != value for key, value in declared.items()):
        properties = ", ".join(f"'{key}' = '{value}'" for key, value in declared.items())
        lake.spark.sql(f"ALTER TABLE delta.`{lake.path(table)}` SET TBLPROPERTIES ({properties})")


def removes_needed(lake: Lake, table: Table, version: int) -> bool:
    """Whether a vacuum now would remove what versions from this one on read, or change files after it."""
    # A vacuum reads the clock after this, and the clocks of file systems differ.
    margin = min(HOUR, lake.retention / 10)
    first = first_made_obsolete(lake, table, after=version)
    return first is not None and first < datetime.now(UTC) - lake.retention + margin


def first_made_obsolete(lake: Lake, table: Table, *, after: int) -> datetime | None:
    """When the first of the files that commits after a version removed, or wrote for the change feed, was so.

    None where there is no such file. Commit times will not do: a transaction may have written its files long before.
    """
    path = lake.path(table)
    moments = []
    for version in range(after + 1, lake.version(table) + 1):
        text = read_entry(lake.spark, path, version)
        for action in map(json.loads, (text or "").splitlines()):
            if "remove" in action:
                removed = action["remove"].get("deletionTimestamp", 0)
                moments.append(datetime.fromtimestamp(removed / 1000, UTC))
            elif "cdc" in action:
                written = storage.modified_at(lake.spark, path, action["cdc"]["path"])
                moments.extend([written] if written else [])
    return min(moments, default=None)
