"""The commands that look back: `verify`, `reconcile`, `runs`."""

from typing import Annotated, Any

import typer

from tailrace.cli.output import AsJson, ReportTo, progress, show
from tailrace.cli.report import plain_table, runs_table
from tailrace.workspace.workspace import Workspace

app = typer.Typer()

Repair = Annotated[bool, typer.Option("--repair", help="Push, then write what still differs as gold has it.")]
Last = Annotated[int, typer.Option(min=1, help="How many runs, the newest first.")]


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
    from tailrace.cli.run_report import Differs, compared_line, differing, error_entry, reported, write

    with progress("reconcile") as step:
        shown = reported("reconcile", lambda: Workspace().reconcile(repair=repair, progress=step), report_to)
    columns = ("compared", "missing", "ghost", "different", "in_motion", *(("repaired",) if repair else ()))
    compared("Gold and the online store", columns, shown, as_json=as_json)
    if differing(shown):
        if report_to is not None:
            differs = Differs(compared_line(shown))
            write(report_to, shown | {"error": error_entry(differs, str(differs))})
        raise typer.Exit(1)


@app.command()
def runs(last: Last = 10, as_json: AsJson = False) -> None:
    """List what the last runs of the publisher did, view by view."""
    shown = {"runs": Workspace().runs(last=last)}
    show(shown, *(runs_table(run) for run in shown["runs"]), as_json=as_json)


def compared(title: str, columns: tuple[str, ...], shown: dict[str, Any], *, as_json: bool) -> None:
    """Show a comparison, per view and in total."""
    rows: list[tuple[Any, ...]] = [(name, *(view[c] for c in columns)) for name, view in shown["views"].items()]
    rows.append(("total", *(shown[column] for column in columns)))
    show(shown, plain_table(title, ("view", *columns), rows), as_json=as_json)
