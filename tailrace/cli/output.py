"""Output of commands: progress, tables, words, or one JSON object as the last line."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

Report = Callable[[str], None]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
ReportTo = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write the figures and errors to this file rather than print them. "
        "Rows that the quality gate stopped are reported only there.",
    ),
]

ViewNames = Annotated[
    list[str] | None,
    typer.Option("--view", metavar="VIEW", help="This view and the base views that it counts; all of them by default."),
]

WIDTH = 118  # of tables in a file or a pipe; a terminal has its own

# Ids and messages may hold brackets and colons, which mean nothing here.
people = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False)
aside = Console(stderr=True, markup=False, emoji=False)

Json = dict[str, Any]


def show(result: dict[str, Any], *tables: RenderableType, as_json: bool) -> None:
    """Print a result as a table, or as JSON."""
    if as_json:
        sys.stdout.write(orjson.dumps(result).decode() + "\n")
        sys.stdout.flush()
    else:
        for table in tables:
            people.print(table)


@contextmanager
def progress(title: str) -> Iterator[Report]:
    """A spinner with what is under way and for how long, on the error stream; one line each where that is a file."""
    if not aside.is_terminal:
        yield lambda stage: aside.print(f"{title}: {stage}", highlight=False)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=aside, transient=True) as bar:
        task = bar.add_task(title)
        yield lambda stage: bar.update(task, description=f"{title}: {stage}")


if TYPE_CHECKING:
    from sinks.history import Pushed


def set_aside_lines(shown: Json) -> Iterator[str]:
    """The effects of excluded files, in words."""
    for table, back in shown.get("taken_back", {}).items():
        yield (
            f"{table}: of excluded files {back['replaced']:,} rows were replaced by the delivery before, "
            f"{back['removed']:,} removed"
        )
    if "recount" in shown:
        views, command = shown["recount"]["views"], shown["recount"]["command"]
        yield (
            f"The stream may have counted the excluded files, in {', '.join(views)}. To count again without them, stop it, "
            f"run `{command}`, and start it again"
        )


def table_lines(shown: Json) -> Iterator[str]:
    """How tables of others were read, in words, a line for each that changed."""
    for source, one in shown.get("tables", {}).items():
        if one["way"] != "unchanged":
            why = f" ({one['why']})" if one["why"] else ""
            versions = f"version {one['to_version']}" + (
                f" after {one['from_version']}" if one["from_version"] is not None else ""
            )
            odd = f", {one['quarantined']:,} into quarantine" if one["quarantined"] else ""
            yield (
                f"{source}: {versions} of {one['table']} by {one['way']}{why}: {one['came']:,} rows came, {one['went']:,} went, "
                f"{one['changed']:,} changed{odd}"
            )


def derived_lines(shown: Json) -> Iterator[str]:
    """What became of derived sources, in words; nothing where no parent changed."""
    for table, one in shown.get("derived", {}).items():
        if one["parents"]:
            why = f" ({one['why']})" if one["why"] else ""
            yield f"{table}: {one['changed']:,} of {one['rows']:,} rows changed, of {one['parents']:,} parents derived{why}"


def blocked_lines(shown: Json) -> Iterator[str]:
    """The sources that were refused and the views that wait for them, in words."""
    for name, one in shown.get("blocked", {}).items():
        yield f"Source {name} is blocked in {one['layer']}, its new data waits: {one['why']}"
    for view, sources in shown.get("views_waiting", {}).items():
        yield f"{view} waits for {', '.join(sources)}; its values and its as-of time stay"


def refresh_table(shown: Json) -> Table:
    """One refresh, a row per view."""
    table = Table(title=f"Refresh to {shown['as_of']}, {shown['seconds']:.1f} s")
    table.add_column("view")
    table.add_column("computed")
    for column in ("rows in gold", "changed", "pushed", "removed", "suppressed", "seconds"):
        table.add_column(column, justify="right")
    for name, view in shown["views"].items():
        counts = (view[key] for key in ("gold_rows", "changed", "pushed", "removed", "suppressed"))
        table.add_row(name, view["computed"], *(f"{count:,}" for count in counts), f"{view['seconds']:.1f}")
    return table


def runs_table(run: Json) -> Table:
    """One run of the publisher, a row per view."""
    allowed = f", allowed: {run['allowed']}" if run["allowed"] else ""
    table = Table(title=f"Run of {run['started_at']}{allowed}")
    table.add_column("view")
    table.add_column("how")
    counts = ("change_rows", "net", "pushed", "suppressed", "stale", "removed")
    for column in (*(name.replace("_", " ") for name in counts), "seconds", "rows a second"):
        table.add_column(column, justify="right")
    for name, view in run["views"].items():
        if view["failure"]:
            table.add_row(name, f"failed: {view['failure']}")
        else:
            how = f"{view['how']}: {view['why']}" if view["why"] else view["how"]
            table.add_row(
                name,
                how,
                *(f"{view[count]:,}" for count in counts),
                f"{view['seconds']:.1f}",
                f"{view['rows_per_second']:,}",
            )
    return table


def first_load_lines(pushed: Mapping[str, "Pushed"]) -> list[str]:
    """The rate of each first load, a line each."""
    from sinks.protocol import FIRST_LOAD

    return [
        f"first load of {view}: {one.pushed:,} rows written in {one.write_seconds:.1f} s, {one.rows_per_second:,} a second"
        for view, one in pushed.items()
        if one.how == FIRST_LOAD
    ]


def maintained_lines(maintained: Json) -> list[str]:
    """The result for each table, a line each."""
    return [f"{table}: {', '.join(done_to(one))}" for table, one in maintained.items()]


def lost_schema_lines(lost: dict[str, list[str]]) -> list[str]:
    """The schemas whose values can no longer be decoded, a line for each view."""
    return [
        f"history.{view}: values of the schemas {', '.join(fingerprints)} cannot be decoded any more, they were packed "
        "before history.schemas was kept"
        for view, fingerprints in lost.items()
    ]


def done_to(one: Json) -> Iterator[str]:
    if purged := one["swept"]:
        yield f"{purged:,} tombstones removed from the store"
    if one["files_after"] != one["files_before"]:
        yield f"{one['files_before']:,} data files rewritten as {one['files_after']:,}"
    elif not one["failure"]:
        yield f"{one['files_after']:,} data files"
    if one["opened"]:
        yield "deletion vectors dropped, other readers of Delta open it now"
    if one["removed_files"]:
        yield f"{one['removed_files']:,} files removed ({one['removed_bytes']:,} bytes)"
    if one["held_by"]:
        yield f"nothing removed: {one['held_by']}"
    if one["failure"]:
        yield f"maintenance stopped: {one['failure']}"


def load_line(landed: Json) -> str:
    others = ("files", "direct_writes", "quarantined", "waiting", "all_read", "unread_folders", "extra_fields")
    rows = (
        f"{count:,} {feed.replace('_', ' ')}"
        for feed, count in landed.items()
        if isinstance(count, int) and feed not in others
    )
    line = f"{landed['files']:,} files landed: {', '.join(rows)}"
    line += f", {landed['direct_writes']:,} direct writes" if landed["direct_writes"] else ""
    refused, waiting = landed["quarantined"], landed["waiting"]
    line += f", {refused:,} to quarantine (table bronze.quarantine says why)" if refused else ""
    line += f"; {waiting:,} messages wait behind an open transaction in Kafka" if waiting else ""
    for feed, names in landed.get("extra_fields", {}).items():
        line += f"; {feed} has fields that its source does not name: {', '.join(names)}"
    unread = landed.get("unread_folders", ())
    return f"{line}; no source reads the folders {', '.join(unread)}" if unread else line


def plain_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> Table:
    """A table whose numbers stand to the right."""
    table = Table(title=title)
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    for column, number in zip(columns, numeric, strict=True):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in row))
    return table


def gate_lines(gates: dict[str, Json]) -> Iterator[str]:
    """The expectations that the quality gate checked; nothing if there were no new rows."""
    if gates:
        rows, expectations, seconds = (
            sum(found[name] for found in gates.values()) for name in ("rows", "expectations", "seconds")
        )
        yield (
            f"Quality gate: {rows:,} new rows of {len(gates)} tables met all of {expectations} expectations, "
            f"{seconds:.1f} s."
        )
