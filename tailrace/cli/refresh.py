"""The commands that take data in: `refresh`, and `run` for one layer."""

from typing import Annotated

import typer

from tailrace.cli import report
from tailrace.cli.output import AsJson, ReportTo, ViewNames, progress, show
from tailrace.workspace.workspace import LAYERS, Workspace

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
    with progress("refresh") as step:
        done = Workspace(views=views or ()).refresh(
            as_of=as_of,
            any_as_of=any_as_of,
            full=full,
            allow_large_change=allowed,
            set_aside=aside or (),
            because=because,
            progress=step,
        )
    shown = done.json()
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
