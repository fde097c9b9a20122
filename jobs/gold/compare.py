"""Hold two versions of the same rows against each other."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.tables import Table


def differing_keys(held: DataFrame, wanted: DataFrame, table: Table) -> DataFrame:
    """The keys whose rows differ, nulls included, or that one side alone has."""
    values = F.struct(*(name for name in table.columns if name not in table.key))
    left, right = (rows.select(*table.key, values.alias(side)) for side, rows in (("held", held), ("wanted", wanted)))
    both = left.join(right, on=list(table.key), how="full_outer")  # unique per key on both sides
    return both.where(~F.col("held").eqNullSafe(F.col("wanted"))).select(*table.key)
