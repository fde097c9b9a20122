"""The commands that take data in, compute, push and compare: `refresh`, `run`, `backfill`, `verify`, `reconcile`, `runs`, `rebuild`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailrace.cli.output import (
    AsJson,
    ReportTo,
    ViewNames,
    blocked_lines,
    derived_lines,
    first_load_lines,
    gate_lines,
    load_line,
    maintained_lines,
    plain_table,
    progress,
    refresh_table,
    runs_table,
    set_aside_lines,
    show,
    table_lines,
)
from tailrace.workspace.workspace import LAYERS, Workspace

if TYPE_CHECKING:
    from tailrace.workspace.refresh import Report

app = typer.Typer()

AsOf = Annotated[
    str | None, typer.Option(metavar="TIME", help="Event time on the 15-minute grid, UTC; the last tick by default.")
]
AnyAsOf = Annotated[
    bool, typer.Option("--any-as-of", help="Take a time beyond the next tick, or before 1900: for tests of such times.")
]
Full = Annotated[bool, typer.Option("--full", help="Compute gold anew; the time may be an earlier one.")]
Allowed = Annotated[
    str | None,
    typer.Option(
        "--allow-large-change",
        metavar="REASON",
        help="Push even if most of a view changes; the ledger keeps the reason.",
    ),
]
Aside = Annotated[
    list[str] | None,
    typer.Option(
        "--set-aside",
        metavar="FILE",
        help="Leave out a landed file, such as events/new.jsonl, whether it was read or not.",
    ),
]
Because = Annotated[
    str | None, typer.Option("--because", metavar="REASON", help="Why files are set aside; it is kept.")
]

From = Annotated[str, typer.Option("--from", metavar="TIME", help="The first as-of time, on the 15-minute grid, UTC.")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="The last as-of time.")]
Every = Annotated[int, typer.Option(metavar="MINUTES", help="From one as-of time to the next; a multiple of 15.")]
Id = Annotated[
    str | None, typer.Option("--id", help="Names the backfill; given again, it goes on where it was cut off.")
]

Repair = Annotated[bool, typer.Option("--repair", help="Push, then write what still differs as gold has it.")]
Last = Annotated[int, typer.Option(min=1, help="How many runs, the newest first.")]

Views = Annotated[list[str] | None, typer.Argument(metavar="[VIEW]...", help="All of them by default.")]


@app.command()
def refresh(
    as_of: AsOf = None,
    any_as_of: AnyAsOf = False,
    full: Full = False,
    views: ViewNames = None,
    allowed: Allowed = None,
    aside: Aside = None,
    because: Because = None,
    as_json: AsJson = False,
) -> None:
    """Take in what landed, refresh every view, push what changed; fails where a source is blocked, once all others are done."""
    with progress("refresh") as step:
        done = refreshed(
            lambda: Workspace(views=views or ()).refresh(
                as_of=as_of,
                any_as_of=any_as_of,
                full=full,
                allow_large_change=allowed,
                set_aside=aside or (),
                because=because,
                progress=step,
            )
        )
    shown = done.json()
    maintained = maintained_lines(shown.get("maintained", {}))
    loads = first_load_lines(done.pushed)
    gates = gate_lines(shown["gates"])
    landed = load_line(shown["landed"])
    silver_lines = (*set_aside_lines(shown), *table_lines(shown), *derived_lines(shown))
    blocked = blocked_lines(shown)
    show(shown, refresh_table(shown), landed, *silver_lines, *gates, *loads, *maintained, *blocked, as_json=as_json)
    fail_if_blocked(shown)


def refreshed(run: "Callable[[], Report]") -> "Report":
    """What a refresh did, also where sources were blocked."""
    from jobs.blocked import SourcesBlocked

    try:
        return run()
    except SourcesBlocked as error:
        report: Report = error.report
        return report


def fail_if_blocked(shown: dict[str, Any]) -> None:
    """End a command with failure where a source is blocked: its data waits."""
    if "blocked" in shown:
        raise typer.Exit(1)


@app.command()
def run(
    layer: Annotated[str, typer.Argument(metavar="|".join(LAYERS))],
    as_of: AsOf = None,
    any_as_of: AnyAsOf = False,
    full: Full = False,
    views: ViewNames = None,
    allowed: Allowed = None,
    aside: Aside = None,
    because: Because = None,
    report_to: ReportTo = None,
    as_json: AsJson = False,
) -> None:
    """Run one layer."""
    from tailrace.cli.run_report import reported, show_words

    with progress(layer):
        shown = reported(
            layer,
            lambda: Workspace(views=views or ()).run_layer(
                layer,
                as_of=as_of,
                any_as_of=any_as_of,
                full=full,
                allow_large_change=allowed,
                set_aside=aside or (),
                because=because,
            ),
            report_to,
        )
    show_words(shown, report_to, as_json=as_json)
    if report_to is None:
        fail_if_blocked(shown)


@app.command()
def backfill(
    from_: From,
    to: To,
    every: Every = 15,
    views: ViewNames = None,
    id_: Id = None,
    report_to: ReportTo = None,
    as_json: AsJson = False,
) -> None:
    """Compute past values of views into their history; gold and the online store stay as they are."""
    from tailrace.cli.run_report import reported, show_words

    with progress("backfill") as step:
        shown = reported(
            "backfill",
            lambda: Workspace().backfill(from_, to, every=every, views=views or (), id=id_, progress=step),
            report_to,
        )
    show_words(shown, report_to, as_json=as_json)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Compute every view in full and compare it with gold; fails unless they agree."""
    with progress("verify") as step:
        shown = Workspace().verify(progress=step)
    compared("Gold and the full computation", ("rows", "differing"), shown, as_json=as_json)
    if shown["differing"]:
        raise typer.Exit(1)


@app.command()
def reconcile(repair: Repair = False, report_to: ReportTo = None, as_json: AsJson = False) -> None:
    """Compare every gold row with the online store; fails unless they agree, or were repaired."""
    from tailrace.cli.run_report import Differs, compared_line, differing, error_entry, reported, write_report

    with progress("reconcile") as step:
        shown = reported("reconcile", lambda: Workspace().reconcile(repair=repair, progress=step), report_to)
    columns = ("compared", "missing", "ghost", "different", "in_motion", *(("repaired",) if repair else ()))
    compared("Gold and the online store", columns, shown, as_json=as_json)
    if differing(shown):
        if report_to is not None:
            differs = Differs(compared_line(shown))
            write_report(report_to, shown | {"error": error_entry(differs, str(differs))})
        raise typer.Exit(1)


@app.command()
def runs(last: Last = 10, as_json: AsJson = False) -> None:
    """List what the last runs of the publisher did, view by view."""
    workspace = Workspace()
    shown: dict[str, Any] = {"runs": workspace.runs(last=last)}
    if tables := workspace.readings():
        shown["tables"] = tables
    show(shown, *(runs_table(run) for run in shown["runs"]), *table_lines(shown), as_json=as_json)


def compared(title: str, columns: tuple[str, ...], shown: dict[str, Any], *, as_json: bool) -> None:
    """Show a comparison, per view and in total."""
    rows: list[tuple[Any, ...]] = [(name, *(view[c] for c in columns)) for name, view in shown["views"].items()]
    rows.append(("total", *(shown[column] for column in columns)))
    show(shown, plain_table(title, ("view", *columns), rows), as_json=as_json)


@app.command()
def rebuild(views: Views = None, *, as_json: AsJson = False) -> None:
    """Write what the lake knows of views into the store: after it was lost, or after a view's lane was changed.

    A view of another lane changes hands first, and that lane's values are removed. What the store has of later direct writes
    stays. The views of the stream are written together, and the stream has to be stopped.
    """
    with progress("rebuild") as step:
        shown = Workspace(views=views or ()).rebuild(progress=step)
    rows = [(name, *one.values()) for name, one in shown["views"].items()]
    columns = ("view", "lane", "from lane", "removed", "written", "seconds")
    show(shown, plain_table("Rebuilt", columns, rows), as_json=as_json)
