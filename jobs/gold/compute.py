"""What a view's gold table holds in full, from pinned versions of the tables it reads."""

from collections.abc import Mapping
from datetime import datetime

from pyspark.sql import DataFrame

from jobs.gold.aggregate import aggregate
from jobs.gold.transform import transform
from tailrace.definitions import Definitions, FeatureView
from tailrace.lake.history import Pin
from tailrace.lake.tables import Lake
from tailrace.schemas import silver


def inputs_of(view: FeatureView, definitions: Definitions) -> list[str]:
    """The full names of the tables that a view reads."""
    return [f"silver.{name}" for name in view.inputs] + [
        definitions.views[name].table.full_name for name in view.finer_views
    ]


def compute(
    lake: Lake, view: FeatureView, pins: Mapping[str, Pin], *, as_of: datetime, finer: Mapping[str, DataFrame]
) -> DataFrame:
    """The rows of a view at `as_of`; `finer` has those of the views that it counts rows of."""
    tables = [table for table in silver.TABLES if table.name in view.inputs]
    rows = {table.name: lake.read(table, version=pins[table.full_name].version) for table in tables}
    if view.transform is not None:
        return transform(view, rows, as_of=as_of)
    return aggregate(rows["interactions"], view, as_of=as_of, finer=finer)
