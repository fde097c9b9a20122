"""The quality gate: new rows must meet what their table promises before they are committed.

A load or refresh hands its rows over when they are computed and not yet written. Rows that miss an expectation stop it
with `GateFailed`, and the table stays as it was, for the next layer as for everybody else.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pyspark.sql import DataFrame

from tailrace.errors import DataError
from tailrace.lake.materialize import ROWS, Materialized
from tailrace.quality import data_docs
from tailrace.quality.validation import Miss, import_ahead, to_look_at, validate
from tailrace.schemas.expectations import Expectation
from tailrace.schemas.tables import Table

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
