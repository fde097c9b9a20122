"""What the commands print: progress and tables for a person, or one JSON object as the last line."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Told = Callable[[str], None]

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
    typer.Option("--view", metavar="VIEW", help="This view and the finer ones that it counts; all of them by default."),
]

WIDTH = 118  # of tables in a file or a pipe; a terminal has its own

# Ids and messages may hold brackets and colons, which mean nothing here.
people = Console(width=None if sys.stdout.isatty() else WIDTH, markup=False, emoji=False)
aside = Console(stderr=True, markup=False, emoji=False)


def show(result: dict[str, Any], *tables: RenderableType, as_json: bool) -> None:
    """Print a result as a table, or as JSON."""
    if as_json:
        sys.stdout.write(orjson.dumps(result).decode() + "\n")
        sys.stdout.flush()
    else:
        for table in tables:
            people.print(table)


@contextmanager
def progress(title: str) -> Iterator[Told]:
    """A spinner with what is under way and for how long, on the error stream; one line each where that is a file."""
    if not aside.is_terminal:
        yield lambda stage: aside.print(f"{title}: {stage}", highlight=False)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=aside, transient=True) as bar:
        task = bar.add_task(title)
        yield lambda stage: bar.update(task, description=f"{title}: {stage}")
