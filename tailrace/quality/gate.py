"""The quality gate: new rows must meet what their table promises before they are committed.

A load or refresh hands its rows over when they are computed and not yet written. Great Expectations validates them. Rows that
miss an expectation stop the load with `GateFailed`, and the table stays as it was, for the next layer as for everybody else.
"""

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.errors import DataError, DefinitionError
from tailrace.lake.session import ROWS, Materialized
from tailrace.quality import data_docs
from tailrace.schemas.expectations import UNIQUE, Expectation
from tailrace.schemas.tables import Table

# Up to so many rows are brought to the driver, where an expectation costs milliseconds; in Spark each is a job or more.
IN_DRIVER = 200_000
# Rows that are shown as a sample of those that did not meet an expectation.
SAMPLED = 3
# Under this an expectation carries its place in the suite: results come in another order.
NUMBER = "number"

# Great Expectations counts as a whole: its registries and contexts are not made for threads.
one_at_a_time = threading.Lock()


class ExpectationError(DefinitionError):
    """An expectation that Great Expectations does not know, or not with such arguments; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Miss:
    """An expectation that was not met: what was observed, and some of the rows, where it is about rows."""

    expectation: Expectation
    observed: str
    sample: tuple[dict[str, Any], ...]


def great_expectations() -> Any:
    """The library, which takes seconds to import; what it would report to its makers stays here."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    return gx


def import_ahead() -> None:
    """Begin to import in the background, while Spark is at work."""
    threading.Thread(target=great_expectations, daemon=True).start()


def to_look_at(rows: Materialized, expectations: Sequence[Expectation]) -> Any:
    """The rows with the truth of each condition and each key of several columns next to them, as Spark has them: a pandas
    frame if they are few enough, else Spark's.
    """
    conditions = {one.condition: F.expr(one.condition) for one in expectations if one.condition is not None}
    keys = {key_text(one): as_one(one.unique_together) for one in expectations if one.unique_together}
    checked = rows.frame.select("*", *(value.alias(column_of(text)) for text, value in (conditions | keys).items()))
    return checked.toArrow().to_pandas() if rows.counts[ROWS] <= IN_DRIVER else checked


def validate(
    name: str, rows: Any, expectations: Sequence[Expectation], *, named_by: Sequence[str]
) -> tuple[Any, list[Miss]]:
    """Great Expectations' result for rows from `to_look_at`, and what of the expectations was not met.

    `named_by` are the columns that name a row.
    """
    with one_at_a_time:
        result = batch_of(name, rows).validate(
            suite_of(name, expectations),
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": SAMPLED,
                "unexpected_index_column_names": list(named_by),
            },
        )
    misses = [
        Miss(
            expectation=expectations[one.expectation_config.meta[NUMBER]],
            observed=observed(one),
            sample=tuple(keys_of(row, named_by) for row in one.result.get("partial_unexpected_index_list") or ()),
        )
        for one in result.results
        if not one.success
    ]
    return result, misses


def batch_of(name: str, rows: Any) -> Any:
    """Rows as a batch of Great Expectations."""
    context = great_expectations().get_context(mode="ephemeral")
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    sources = context.data_sources
    source = (
        sources.add_spark("candidates", persist=False)
        if isinstance(rows, DataFrame)
        else sources.add_pandas("candidates")
    )
    whole = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
    return whole.get_batch({"dataframe": rows})


def suite_of(name: str, expectations: Sequence[Expectation]) -> Any:
    """Expectations as a suite; raises `ExpectationError` for one that the library does not know."""
    gx = great_expectations()
    from great_expectations.expectations.registry import get_expectation_impl

    made = []
    for number, one in enumerate(expectations):
        try:
            name_there = UNIQUE if one.unique_together else one.name
            made.append(get_expectation_impl(name_there)(**arguments_of(one), meta={NUMBER: number}))
        except (gx.exceptions.ExpectationNotFoundError, ValueError) as error:
            raise ExpectationError(f"{name}: {one} is not an expectation of Great Expectations: {error}") from error
    return gx.ExpectationSuite(name=name, expectations=made)


def as_one(columns: Sequence[str]) -> Column:
    """One text that is equal where all of these columns are; null where all are.

    pandas, which numbers the values of each of several columns as C does, takes texts for equal up to a NUL.
    """
    texts = [F.col(column).cast("string") for column in columns]
    parts = [F.coalesce(F.concat(F.length(text), F.lit(":"), text), F.lit("-")) for text in texts]
    return F.when(F.coalesce(*texts).isNotNull(), F.concat_ws(" ", *parts))


def key_text(expectation: Expectation) -> str:
    """The columns of a key as one name."""
    return ", ".join(expectation.unique_together)


def arguments_of(expectation: Expectation) -> dict[str, Any]:
    """The arguments of an expectation, about a column that `to_look_at` adds where it needs one."""
    if expectation.unique_together:
        return {"column": column_of(key_text(expectation))}
    if expectation.condition is None:
        return dict(expectation.arguments)
    return {**expectation.arguments, "column": column_of(expectation.condition)}


def column_of(condition: str) -> str:
    """A condition as the name of a column that no table has; Spark takes a dot in a name for a field's."""
    return f"({condition})".replace(".", "·").replace("`", "'")


def keys_of(row: dict[str, Any], named_by: Sequence[str]) -> dict[str, Any]:
    """The values that name a row."""
    return {name: row[name] for name in named_by}


def observed(one: Any) -> str:
    """What was seen instead, in words; also that an expectation could not be worked out."""
    found = one.result
    if {"unexpected_count", "element_count"} <= set(found):
        return f"observed {found['unexpected_count']:,} of {found['element_count']:,} rows that do not"
    if found.get("observed_value") is not None:
        return f"observed {found['observed_value']}"
    if "unexpected_count" in found:
        return f"observed {found['unexpected_count']:,} values that are not"
    errors = one.exception_info if "exception_message" not in one.exception_info else {"": one.exception_info}
    messages = sorted({info["exception_message"] or "no more is known" for info in errors.values()})
    return f"not so: {'; '.join(messages)}"


FILE = "file"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate found of one table's new rows: how many they are, and the expectations that they were checked against."""

    rows: int
    expectations: int
    seconds: float


class GateFailed(DataError):
    """New rows do not meet what is expected of their table, and none was committed.

    The message names each expectation, what was observed, some rows, and the landed files that they came from.
    """

    def __init__(self, table: Table, *, rows: int, misses: Iterable[Miss], files: Iterable[str], page: Path) -> None:
        self.table = table.full_name
        self.rows = rows
        self.misses = tuple(misses)
        self.files = tuple(files)
        self.page = page
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> Iterable[str]:
        yield f"{self.table}: the quality gate stopped {self.rows:,} new rows, and none was committed"
        for miss in self.misses:
            such = f", such as {'; '.join(map(row_text, miss.sample))}" if miss.sample else ""
            yield f"- {miss.expectation}: {miss.observed}{such}"
        if self.files:
            given = " ".join(f"--set-aside {quote(file)}" for file in self.files)
            yield f"They came from {', '.join(self.files)}. To go on without: tailrace refresh {given} --because REASON"
        yield f"All of it: {self.page}"


def row_text(row: dict[str, Any]) -> str:
    """A row as text for a message."""
    return ", ".join(f"{name} {value}" for name, value in row.items())


class Gate:
    """Audits new rows, and keeps a page of each audit in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.verdicts: dict[str, Verdict] = {}

    def prepare(self) -> None:
        """Say that rows will come soon."""
        import_ahead()

    def take_verdicts(self) -> dict[str, Verdict]:
        """What was found since the last call, by table."""
        found, self.verdicts = self.verdicts, {}
        return found

    def audit(self, table: Table, rows: Materialized, *, feed: str | None = None) -> None:
        """Raise `GateFailed` where rows miss what the table promises; `feed` is where their column `file` lies."""
        count = rows.counts[ROWS]
        if not count:
            return
        began = time.monotonic()
        due = [one for one in table.promises if count >= one.least_rows]
        by = [*table.key, *([FILE] if feed and FILE not in table.key else [])]
        looked_at = to_look_at(rows, due)
        result, misses = validate(table.full_name, looked_at, due, named_by=by)
        page = data_docs.write(self.folder, table.full_name, result)
        if misses:
            files = offenders(table, looked_at, [miss.expectation for miss in misses], by=by) if feed else ()
            raise GateFailed(table, rows=count, misses=misses, files=(f"{feed}/{file}" for file in files), page=page)
        self.verdicts[table.full_name] = Verdict(rows=count, expectations=len(due), seconds=time.monotonic() - began)


def offenders(table: Table, rows: Any, missed: list[Expectation], *, by: list[str]) -> list[str]:
    """The files that miss one of these expectations by themselves; all of them if none has rows enough."""
    counts = rows_by_file(rows)
    found = []
    for file, count in sorted(counts.items()):
        due = [one for one in missed if count >= one.least_rows]
        if due and validate(table.full_name, rows[rows[FILE] == file], due, named_by=by)[1]:
            found.append(file)
    return found or sorted(counts)


def rows_by_file(rows: Any) -> dict[str, int]:
    """The files of a pandas or of a Spark frame, each with its number of rows."""
    if isinstance(rows, DataFrame):
        return {row[FILE]: row["count"] for row in rows.groupBy(FILE).count().collect()}
    return dict(rows[FILE].value_counts())
