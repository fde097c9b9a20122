"""What derived sources look up: the facts that each parent gets, and the parents whose facts changed."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import and_

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import DerivedSource, Lookup
from tailrace.lake.delta_log import BEFORE_IMAGES, Pin
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table

Pins = Mapping[str, Pin]
GIVEN = "_given"


def read_pinned(lake: Lake, table: Table, pins: Pins) -> DataFrame:
    """A table at its pinned version."""
    return lake.read(table, version=pins[table.full_name].version)


def with_facts(lake: Lake, source: DerivedSource, parents: DataFrame, pins: Pins) -> DataFrame:
    """Parents, each with what its look-ups find at the pinned versions."""
    columns = [column.name for column in source.of.facts]
    rows = parents.select(*columns)
    for one in source.lookups:
        key = zip(one.table.key_columns, one.named_in, strict=True)
        found = read_pinned(lake, one.table.silver_table, pins)
        found = found.select(*(F.col(column).alias(name) for column, name in key), *one.fields)
        rows = rows.join(found, on=list(one.named_in), how="left")  # unique per key in the table
    return rows.select(*columns, *(name for one in source.lookups for name in one.fields))


def as_first_given(source: DerivedSource, rows: DataFrame, given: DataFrame, kept: list[Lookup]) -> DataFrame:
    """Parents with what the table of given facts has for them, where they still name the same key."""
    ids = list(source.parent_ids)
    before = {name: f"{GIVEN}_{name}" for name in given.columns if name not in ids}
    had = given.withColumnsRenamed(before).withColumn(GIVEN, F.lit(True))
    joined = rows.join(had, on=ids, how="left")  # unique per parent on both sides
    for one in kept:
        same = (F.col(name).eqNullSafe(F.col(before[name])) for name in one.named_in if name in before)
        is_kept = reduce(and_, same, F.col(GIVEN))
        joined = joined.withColumns(
            {name: F.when(is_kept, F.col(before[name])).otherwise(F.col(name)) for name in one.fields}
        )
    return joined.select(*rows.columns)


def changed_parents(lake: Lake, source: DerivedSource, *, before: Pins, after: Pins) -> DataFrame | None:
    """The ids of parents that changed between two pins, or whose look-ups did; None where nothing was written.

    Raises `HistoryLost` where a change feed does not reach from one pin to the other.
    """
    found = [*changed_themselves(lake, source, before, after), *changed_facts(lake, source, before, after)]
    return reduce(DataFrame.unionByName, found).distinct() if found else None


def changed_themselves(lake: Lake, source: DerivedSource, before: Pins, after: Pins) -> Iterator[DataFrame]:
    feed = written(lake, source.of.silver_table, before, after)
    if feed is not None:
        yield net_keys(feed, source.parent_ids, facts=[column.name for column in source.of.facts])


def changed_facts(lake: Lake, source: DerivedSource, before: Pins, after: Pins) -> Iterator[DataFrame]:
    for one in source.lookups:
        feed = written(lake, one.table.silver_table, before, after)
        if feed is None or not one.follow:
            continue
        key = one.table.key_columns
        changed = net_keys(feed, key, facts=one.fields)
        named = changed.select(*(F.col(own).alias(name) for own, name in zip(key, one.named_in, strict=True)))
        parents = read_pinned(lake, source.of.silver_table, after)
        yield parents.join(named, on=list(one.named_in), how="left_semi").select(*source.parent_ids)


def net_keys(feed: DataFrame, key: Sequence[str], *, facts: Sequence[str]) -> DataFrame:
    """The keys of which a change feed, all in all, has other facts than before; a delivery that says the same changes none."""
    sign = F.when(F.col("_change_type").isin(*BEFORE_IMAGES), -1).otherwise(1)
    columns = dict.fromkeys((*key, *facts))
    return feed.groupBy(*columns).agg(F.sum(sign).alias("_net")).where("_net <> 0").select(*key).distinct()


def written(lake: Lake, table: Table, before: Pins, after: Pins) -> DataFrame | None:
    """What a table's change feed has between two pins; None where no rows were written."""
    since, until = before[table.full_name], after[table.full_name]
    feed = lake.changes_since(table, since=since, until=until)
    return feed if lake.rows_written(table, after=since.version, up_to=until.version) else None
