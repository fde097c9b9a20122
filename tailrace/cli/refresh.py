"""The commands that take data in: `refresh`, and `run` for one layer."""

from typing import Annotated

import typer

from jobs.bronze.set_aside import SetAside
from tailrace.cli import report
from tailrace.cli.output import AsJson, ReportTo, ViewNames, progress, show
from tailrace.errors import CommandError
from tailrace.local.streaming import settings_of_home
from tailrace.schemas.slots import parse_as_of
from tailrace.workspace.workspace import Workspace

app = typer.Typer()

LAYERS = ("bronze", "silver", "gold", "publish")

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
    """Take in what landed, refresh every view, push what changed."""
    from tailrace.workspace.refresh import refresh as run_refresh
    from tailrace.workspace.report import refresh_json

    files = files_aside(aside, because)
    with progress("refresh") as told:
        time = parse_as_of(as_of) if as_of is not None else None
        workspace = Workspace(settings=settings_of_home(), views=views or ())
        done = run_refresh(
            workspace, as_of=time, any_as_of=any_as_of, full=full, allowed=allowed, aside=files, progress=told
        )
    shown = refresh_json(done)
    maintained = report.maintained_lines(shown.get("maintained", {}))
    loads = report.first_load_lines(done.pushed)
    gates = report.gate_lines(shown["gates"])
    landed = report.landed_line(shown["landed"])
    aside_lines = report.set_aside_lines(shown)
    show(shown, report.refresh_table(shown), landed, *aside_lines, *gates, *loads, *maintained, as_json=as_json)


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
    """Run one layer alone."""
    from tailrace.cli.run_report import reported, show_words
    from tailrace.workspace.layers import run_layer

    if layer not in LAYERS:
        raise CommandError(f"there is no layer {layer!r}; there are {', '.join(LAYERS)}")
    if (as_of or full) and layer != "gold":
        raise CommandError(f"--as-of and --full go with gold; {layer} takes what there is")
    if views and layer not in {"gold", "publish"}:
        raise CommandError(f"--view goes with gold and publish; {layer} is for all views")
    if allowed and layer != "publish":
        raise CommandError(f"--allow-large-change goes with publish; {layer} pushes nothing")
    if aside and layer != "bronze":
        raise CommandError(f"--set-aside goes with bronze, which takes files; {layer} takes none")
    files = files_aside(aside, because)

    def figures() -> report.Json:
        time = parse_as_of(as_of) if as_of is not None else None
        workspace = Workspace(settings=settings_of_home(), views=views or ())
        return run_layer(workspace, layer, as_of=time, any_as_of=any_as_of, full=full, allowed=allowed, aside=files)

    with progress(layer):
        shown = reported(layer, figures, report_to)
    show_words(shown, report_to, as_json=as_json)


def files_aside(files: list[str] | None, why: str | None) -> SetAside | None:
    if bool(files) != bool(why):
        raise CommandError("--set-aside and --because go together: name the files, and say why they are left out")
    return SetAside(tuple(files), why) if files and why else None
