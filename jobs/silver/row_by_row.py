"""The function of a derived source: run over parent rows, and refused where it does not see one of them at a time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, Window
from pyspark.sql import functions as F

from tailrace.definitions import DerivedSource
from tailrace.definitions.derived_source import ORDINAL
from tailrace.errors import DefinitionError
from tailrace.lake.session import ROWS, Materialized, materialized, to_join

# Up to so many parents are derived one by one as well, more of them in two parts.
ONE_BY_ONE = 8
SHOWN = 3
# What a function may read next to the rows that it is given: constants.
CONSTANTS = {"LogicalRDD", "LocalRelation", "OneRowRelation", "Range"}

CLOCK = re.compile(r"\b(current_date|current_timestamp|localtimestamp|current_time|now)\(")

SIDE, ODDS, COPIES, COPY = "_side", "_odds", "_copies", "_copy"
IS_NULL, IS_REPEATED, IS_STRANGER = "_null", "_repeated", "_stranger"


class DerivationError(DefinitionError):
    """A function of a derived source whose result cannot be kept; the message names source, column and parent."""


@contextmanager
def derived(source: DerivedSource, parents: Materialized, *, turn: int) -> Iterator[Materialized]:
    """The rows of a derived source for these parents, checked; `turn` chooses how they are divided for the check.

    Raises `DerivationError` where the function returns other columns, rows of no parent, repeated ids or nulls, or where
    its rows for all parents are not those for each of them together.
    """
    with materialized(compared(source, parents, turn=turn), uneven=F.col(ODDS) != 0) as groups:
        if groups.counts["uneven"]:
            raise not_row_by_row(source, groups.frame)
        flags = {name: F.col(name).cast("int") for name in (IS_NULL, IS_REPEATED, IS_STRANGER)}
        with materialized(flagged(source, groups.frame, parents), totals=flags) as rows:
            check_rows(source, rows)
            yield Materialized(rows.frame.select(*source.silver_table.columns), rows.counts)


def compared(source: DerivedSource, parents: Materialized, *, turn: int) -> DataFrame:
    """Each different row that the function returns, how often for all parents, and how much more often than for parts of them."""
    whole = returned(source, parents.frame).withColumn(SIDE, F.lit(1))
    parts = [returned(source, part).withColumn(SIDE, F.lit(-1)) for part in parts_of(source, parents, turn=turn)]
    every = reduce(DataFrame.unionByName, parts, whole)
    names = [column.name for column in source.returned]
    return every.groupBy(*names).agg(F.sum(SIDE).alias(ODDS), F.count_if(F.col(SIDE) > 0).alias(COPIES))


def parts_of(source: DerivedSource, parents: Materialized, *, turn: int) -> list[DataFrame]:
    """Parents in parts: one for each of a few, or else two."""
    rows, ids = parents.counts[ROWS], source.parent_ids
    few = rows <= ONE_BY_ONE
    number = F.row_number().over(Window.orderBy(*ids)) if few else F.pmod(F.xxhash64(*ids, F.lit(turn)), F.lit(2)) + 1
    count = max(rows, 2) if few else 2
    numbered = parents.frame.withColumn(SIDE, number)
    return [numbered.where(F.col(SIDE) == part).drop(SIDE) for part in range(1, count + 1)]


def returned(source: DerivedSource, parents: DataFrame) -> DataFrame:
    """What the function returns for parents, its columns and what it reads checked."""
    here = f"source {source.name!r}: its transform"
    try:
        rows = source.transform(parents)
    except Exception as error:  # a project's own code may raise anything
        what = error if isinstance(error, PySparkException) else f"{type(error).__name__}: {error}"
        raise DerivationError(f"{here} cannot be run over {', '.join(parents.columns)}: {what}") from error
    if not isinstance(rows, DataFrame):
        raise DerivationError(f"{here} returns a {type(rows).__name__}; return a PySpark DataFrame")
    check_columns(source, rows)
    check_reads_constants(source, rows)
    return rows.select(*(column.name for column in source.returned))


def check_columns(source: DerivedSource, rows: DataFrame) -> None:
    """Raise `DerivationError` for a column that is missing or of another type."""
    here, found = f"source {source.name!r}: its transform returns", dict(rows.dtypes)
    for column in source.returned:
        if column.name not in found:
            kept = " of the parent; keep the parent's ids and time" if column in source.of.facts else ""
            raise DerivationError(f"{here} no column {column.name!r}{kept}; it returns {', '.join(found)}")
        if found[column.name] != column.type.info.sql:
            raise DerivationError(
                f"{here} {column.name!r} as {found[column.name]}, declared is {column.type.info.sql}; cast it"
            )


def check_reads_constants(source: DerivedSource, rows: DataFrame) -> None:
    """Raise `DerivationError` for a function that reads a table or files."""
    plan: Any = rows._jdf.queryExecution().analyzed()
    if found := CLOCK.search(str(plan.toString())):
        raise DerivationError(
            f"source {source.name!r}: its transform asks for {found[1]}, which is another one in each refresh; rows that were "
            "derived before would keep theirs. Derive from the row's own time"
        )
    leaves = plan.collectLeaves()
    read = {leaves.apply(number).nodeName().split(" ")[0] for number in range(leaves.size())}
    if read - CONSTANTS:
        raise DerivationError(
            f"source {source.name!r}: its transform reads something else than the rows that it is given "
            f"({', '.join(sorted(read - CONSTANTS))}); declare a Lookup: rows are derived anew when it changes"
        )


def flagged(source: DerivedSource, groups: DataFrame, parents: Materialized) -> DataFrame:
    """The rows with their numbers where these are their ids, and what is wrong with each."""
    ids, key = source.parent_ids, source.key_columns
    # Equal rows of one parent are as many rows.
    rows = groups.withColumn(COPY, F.explode(F.sequence(F.lit(1), F.col(COPIES).cast("int")))).drop(ODDS, COPIES, COPY)
    repeated = F.lit(False)
    if source.is_numbered:
        values = [column.name for column in source.returned if column.name not in ids]
        number = F.row_number().over(Window.partitionBy(*ids).orderBy(*values)) - 1
        rows = rows.withColumn(ORDINAL.name, number.cast(ORDINAL.type))
    else:
        repeated = F.count("*").over(Window.partitionBy(*key)) > 1
    nulls = [F.col(column.name).isNull() for column in source.facts if not column.nullable]
    rows = rows.withColumn(IS_NULL, reduce(or_, nulls)).withColumn(IS_REPEATED, repeated)
    known = to_join(parents.frame.select(*ids), rows=parents.counts[ROWS]).withColumn(IS_STRANGER, F.lit(False))
    return rows.join(known, on=list(ids), how="left").fillna(True, subset=[IS_STRANGER])


def check_rows(source: DerivedSource, rows: Materialized) -> None:
    """Raise `DerivationError` for rows that are not as declared."""
    here, own = f"source {source.name!r}: its transform returns", ", ".join(source.own_ids)
    if rows.counts[IS_STRANGER]:
        raise DerivationError(f"{here} a row of {parent_in(source, first(rows, IS_STRANGER))}, which it was not given")
    if rows.counts[IS_NULL]:
        row = first(rows, IS_NULL)
        [column, *_] = [one.name for one in source.facts if not one.nullable and row[one.name] is None]
        raise DerivationError(f"{here} no {column!r} for a row of {parent_in(source, row)}; return a value, or no row")
    if rows.counts[IS_REPEATED]:
        row = first(rows, IS_REPEATED)
        raise DerivationError(
            f"{here} several rows with {named(row, source.own_ids)} for {parent_in(source, row)}; 'id' ({own}) is unique "
            "among the rows of one parent"
        )


def first(rows: Materialized, flag: str) -> Row:
    """A row that has a flag."""
    [row] = rows.frame.where(flag).limit(1).collect()
    return row


def not_row_by_row(source: DerivedSource, groups: DataFrame) -> DerivationError:
    """The error of a function that sees several rows."""
    names = [column.name for column in source.returned]
    rows = groups.where(F.col(ODDS) != 0).orderBy(*names).limit(SHOWN).collect()
    shown = "; ".join(f"{'together' if row[ODDS] > 0 else 'apart'} {named(row, names)}" for row in rows)
    return DerivationError(
        f"source {source.name!r}: its transform does not see one row at a time, as it returns other rows for parents "
        f"together than for the same parents apart ({shown}); leave out what goes by other rows, such as groups, windows, "
        "limits and distinct rows, and random numbers"
    )


def parent_in(source: DerivedSource, row: Row) -> str:
    """The parent of a row, as errors name it."""
    return f"the parent {named(row, source.parent_ids)}"


def named(row: Row, names: tuple[str, ...] | list[str]) -> str:
    """Some columns of a row, as errors show them."""
    return ", ".join(f"{name}={row[name]!r}" for name in names)
