"""Hold two versions of the same rows against each other."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.schemas.tables import Table


def differing_keys(held: DataFrame, wanted: DataFrame, table: Table) -> DataFrame:
    """The keys whose rows differ, nulls included, or that one side alone has."""
    both = [rows.select(*table.columns, F.lit(sign).alias("side")) for rows, sign in ((held, 1), (wanted, -1))]
    # Grouping takes nulls for equal, and shuffles once where a join would sort both sides.
    unpaired = both[0].unionByName(both[1]).groupBy(*table.columns).agg(F.sum("side").alias("side")).where("side <> 0")
    return unpaired.select(*table.key).distinct()
