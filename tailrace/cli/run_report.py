"""The report of a command to its scheduler: figures, words, and errors."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from tailrace.cli.failures import as_shown
from tailrace.cli.output import (
    blocked_lines,
    derived_lines,
    gate_lines,
    load_line,
    lost_schema_lines,
    maintained_lines,
    set_aside_lines,
    show,
    table_lines,
)
from tailrace.errors import DataError, is_retryable
from tailrace.lake.atomic_file import put
from tailrace.quality.gate import GateFailed
from tailrace.workspace.undefined import undefined_lines

Json = dict[str, Any]


class Differs(DataError):
    """Rows of gold and of the store differ; the message counts them and names their views."""


def reported(what: str, run: Callable[[], Json], to: Path | None) -> Json:
    """Run a layer or a command; its figures with its `seconds` and with `words` for people, written to a file as well if
    one is given.

    With a file, rows that the quality gate stopped are reported there under `stopped` rather than raised. Other
    errors are reported there under `error` and raised, as commands report them. Blocked sources are figures like others.
    """
    began = time.monotonic()
    try:
        figures = run()
    except GateFailed as failed:
        if to is None:
            raise
        figures = {"stopped": {"table": failed.table, "rows": failed.rows, "files": failed.files, "told": str(failed)}}
    except Exception as error:
        shown_error = as_shown(error)
        if to is not None:
            write_report(to, {"error": error_entry(error, str(shown_error))})
        if shown_error is error:
            raise
        raise shown_error from error
    figures = {"of": what, "seconds": time.monotonic() - began, **figures}
    figures["words"] = list(words_of(what, figures))
    if to is not None:
        write_report(to, figures)
    return figures


def error_entry(error: Exception, message: str) -> Json:
    """An error as a report has it; whoever scheduled the command tries again where `retryable` says so."""
    return {"kind": type(error).__name__, "told": message, "retryable": is_retryable(error)}


def show_words(figures: Json, to: Path | None, *, as_json: bool) -> None:
    """Print figures in words, unless whoever asked for a file of them has them there."""
    show(figures, *(figures["words"] if to is None else ()), as_json=as_json)


def write_report(path: Path, figures: Json) -> None:
    put(path, orjson.dumps(figures).decode())


def words_of(what: str, figures: Json) -> Iterator[str]:
    if "stopped" in figures:
        yield figures["stopped"]["told"]
        return
    match what:
        case "bronze":
            yield load_line(figures)
            yield from set_aside_lines(figures)
        case "silver":
            yield f"Silver is at load {figures['load']}."
            yield from set_aside_lines(figures)
            yield from table_lines(figures)
            yield from derived_lines(figures)
        case "gold":
            yield from (gold_line(name, view) for name, view in figures["views"].items())
        case "publish":
            yield from (push_line(name, view) for name, view in figures["views"].items())
        case "maintain":
            yield from maintained_lines(figures["tables"])
            yield from lost_schema_lines(figures["lost_schemas"])
            yield from undefined_lines(figures["undefined"])
            yield from [f"The store was not looked through: {figures['failure']}"] if figures["failure"] else []
        case "backfill":
            yield from backfill_lines(figures)
        case "reconcile":
            yield compared_line(figures)
    yield from gate_lines(figures.get("gates", {}))
    yield from blocked_lines(figures)


def backfill_lines(figures: Json) -> Iterator[str]:
    for name, view in figures["views"].items():
        before = f", {view['done_before']:,} were done before" if view["done_before"] else ""
        yield (
            f"{name}: {view['times']:,} times computed{before}; {view['recorded']:,} rows recorded, of which "
            f"{view['removed']:,} removals, {view['seconds']:.1f} s."
        )
    if figures["left_out"]:
        yield f"Left out, as they have no past values: {', '.join(figures['left_out'])}."
    yield f"In the history the rows are marked as of backfill {figures['id']!r}."


def compared_line(found: Json) -> str:
    """The result of comparing gold and the store."""
    named = ("missing", "ghost", "different", "repaired")
    counts = ", ".join(f"{found[name]:,} {name}" for name in named)
    if found.get("in_motion"):
        counts += f", {found['in_motion']:,} in motion and not compared"
    views = ", ".join(name for name, view in found["views"].items() if differing(view))
    return f"{found['compared']:,} rows compared: {counts}" + (f"; views that differ: {views}" if views else "")


def differing(found: Json) -> int:
    """Rows that differ and were not repaired."""
    return int(found["missing"] + found["ghost"] + found["different"] - found["repaired"])


def gold_line(name: str, view: Json) -> str:
    why = f" ({view['why']})" if view["why"] else ""
    uncounted = "".join(
        f" {count:,} events have a value that does not count in {feature}."
        for feature, count in view.get("uncounted", {}).items()
    )
    changed = f"{view['changed']:,} of {view['gold_rows']:,} rows changed"
    return f"{name}: {changed}, {view['how']}{why}, {view['seconds']:.1f} s.{uncounted}"


def push_line(name: str, view: Json) -> str:
    why = f", compared as a whole because {view['why']}" if view["why"] else ""
    return (
        f"{name}: {view['pushed']:,} values written, {view['removed']:,} removed, {view['suppressed']:,} equal"
        f"{why}, {view['seconds']:.1f} s."
    )
