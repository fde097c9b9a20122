"""The batches that loads claimed, read from `bronze.FILES`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

from pyspark.sql import functions as F

from contracts import bronze
from jobs.bronze.landing import LandedFile
from lake.tables import Lake


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The files of one load; a load that finishes it later judges by the same clock, `ingested_at`."""

    number: int
    ingested_at: datetime
    files: list[LandedFile] = field(default_factory=list)


def read_batches(lake: Lake, *, number: int | None = None) -> Mapping[int, Batch]:
    """All batches, or one, by number, as they were claimed, which may have been by another process."""
    batches: dict[int, Batch] = {}
    if lake.exists(bronze.FILES):
        names = [column.name for column in fields(LandedFile)]
        rows = lake.read(bronze.FILES)
        if number is not None:
            rows = rows.where(F.col("batch") == number)
        for row in rows.select(*names, "batch", "ingested_at").collect():
            batch = Batch(number=row.batch, ingested_at=row.ingested_at.astimezone())
            values = {name: row[name] for name in names} | {"delivered_at": row.delivered_at.astimezone()}
            batches.setdefault(row.batch, batch).files.append(LandedFile(**values))
    return batches
