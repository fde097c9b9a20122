"""`tailrace backfill`: past values into the history."""

from typing import Annotated

import typer

from tailrace.cli.output import AsJson, ReportTo, ViewNames, progress
from tailrace.workspace.workspace import Workspace

app = typer.Typer()

From = Annotated[str, typer.Option("--from", metavar="TIME", help="The first as-of time, on the 15-minute grid, UTC.")]
To = Annotated[str, typer.Option("--to", metavar="TIME", help="The last as-of time.")]
Every = Annotated[int, typer.Option(metavar="MINUTES", help="From one as-of time to the next; a multiple of 15.")]
Id = Annotated[
    str | None, typer.Option("--id", help="Names the backfill; given again, it goes on where it was cut off.")
]


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
