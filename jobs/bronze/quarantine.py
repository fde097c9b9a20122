"""The quarantine: what a batch refuses is appended there once, whoever has appended a part of it before."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.listing import Batch, LandedFile
from tailrace.lake.session import ROWS, materialized, small_frame, to_join
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze

REFUSED = "feed string, file string, line bigint, reason string, raw string"
BATCH_BITS = 32  # of a number that has the batch in its upper half, and in its lower what is there of it


@dataclass(frozen=True, kw_only=True)
class RefusedPart:
    """What a batch refuses of one feed: whole files, and lines among those that were validated, if any were."""

    feed: str
    files: Sequence[LandedFile]
    validated: DataFrame | None

    def rows(self, lake: Lake, batch: Batch) -> DataFrame:
        """The rows of `bronze.QUARANTINE`."""
        whole = [(self.feed, file.file, None, file.refusal, None) for file in self.files]
        rows = small_frame(lake.spark, whole, REFUSED)
        if self.validated is not None:
            rows = rows.unionByName(refused_lines(self.validated, self.feed))
        return rows.withColumns(batch.stamp)


def refused_lines(validated: DataFrame, feed: str) -> DataFrame:
    """The lines that have a reason, with their text."""
    raw = F.make_valid_utf8("value").alias("raw")
    return validated.where("reason is not null").select(F.lit(feed).alias("feed"), "file", "line", "reason", raw)


def quarantine(lake: Lake, batch: Batch, refused: Sequence[RefusedPart]) -> None:
    """Append what a batch refuses, in one commit if it is the first of this batch.

    A batch may come back, for a feed that was blocked or by a process that goes on where another was killed; then only
    those lines are appended that are not there.
    """
    if not refused:
        return
    if lake.last_appended(bronze.QUARANTINE) < batch.number:
        run = uuid.uuid4().hex
        rows = reduce(DataFrame.unionByName, (one.rows(lake, batch) for one in refused))
        lake.append_once(bronze.QUARANTINE, rows, number=batch.number, run=run)
        state = lake.state(bronze.QUARANTINE)
        if state is not None and state.values.get("run") == run:
            return
    for one in refused:
        append_missing(lake, batch, one)


def append_missing(lake: Lake, batch: Batch, refused: RefusedPart) -> None:
    """Append what the quarantine does not have of a feed's part of a batch.

    Processes that found the same there append under the same number, and one of them does.
    """
    there = lake.read(bronze.QUARANTINE, version=lake.version(bronze.QUARANTINE))
    there = there.where((F.col("feed") == refused.feed) & (F.col("batch") == batch.number))
    # Of a file as a whole there may be several refusals: parts of a topic have one name.
    mark = F.coalesce(F.col("line").cast("string"), F.col("reason")).alias("mark")
    with materialized(there.select("file", mark)) as known:
        rows = refused.rows(lake, batch).withColumn("mark", mark)
        known_rows = to_join(known.frame, rows=known.counts[ROWS])
        with materialized(rows.join(known_rows, on=["file", "mark"], how="left_anti")) as left:
            if left.counts[ROWS]:
                lake.append_numbered(
                    bronze.QUARANTINE,
                    left.frame,
                    name=f"{bronze.QUARANTINE.full_name}/{refused.feed}",
                    number=(batch.number << BATCH_BITS) + known.counts[ROWS],
                )
