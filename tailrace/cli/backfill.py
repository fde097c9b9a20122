"""`tailrace backfill`: past values into the history."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from tailrace.cli.output import AsJson, ReportTo, ViewNames, progress
from tailrace.cli.report import Json
from tailrace.definitions import STREAM
from tailrace.local.streaming import settings_of_home
from tailrace.schemas.slots import AsOfError, parse_as_of, times_between, to_text
from tailrace.workspace.refresh import catch_up_bronze
from tailrace.workspace.resources import Progress
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

    with progress("backfill") as told:
        shown = reported(
            "backfill",
            lambda: figures(from_, to, every=every, views=views or [], id_=id_, told=told),
            report_to,
        )
    show_words(shown, report_to, as_json=as_json)


def figures(from_: str, to: str, *, every: int, views: list[str], id_: str | None, told: Progress) -> Json:
    from jobs import backfill as job

    now = datetime.now(UTC)
    times = times_between(parse_as_of(from_), parse_as_of(to), every=timedelta(minutes=every))
    if times[-1] > now:
        raise AsOfError(f"{to_text(times[-1])} is not past yet; give a time before {to_text(now)}")
    workspace = Workspace(settings=settings_of_home())
    chosen = job.views_to_backfill(workspace.definitions, views)
    id_ = id_ or f"{from_} {to} {every}, begun {to_text(now)}"
    if any(view.lane == STREAM for view in chosen.values()):
        catch_up_bronze(workspace)  # a moment that is told has all its events
    kafka = workspace.settings.stream.kafka is not None
    done = job.run(workspace.lake, workspace.definitions, chosen, times, id_=id_, told=told, kafka=kafka)
    left_out = sorted(set(workspace.definitions.batch_views) - set(chosen)) if not views else []
    return {
        "id": id_,
        "times": len(times),
        "left_out": left_out,
        "views": {name: asdict(one) for name, one in done.items()},
    }
