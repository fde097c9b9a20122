"""`tailrace rebuild`: what the lake knows is written into a store that lost it, and a view is given to another lane."""

import time
from typing import Annotated, Any

import typer

from features.language import BATCH, DIRECT, FeatureView
from settings import read_settings
from tailrace.output import AsJson, progress, show
from tailrace.refresh import Home
from tailrace.report import plain_table

app = typer.Typer()

Views = Annotated[list[str] | None, typer.Argument(metavar="[VIEW]...", help="All of them by default.")]


@app.command()
def rebuild(views: Views = None, *, as_json: AsJson = False) -> None:
    """Write what the lake knows of views into the store: after it was lost, or after a view's lane was changed.

    A view that another lane had is taken from it first, with all that it left. What the store has of later writes stays.
    """
    here = Home(read_settings(), views=views or ())
    with progress("rebuild") as told:
        shown = {}
        for view in here.chosen.views.values():
            told(view.name)
            shown[view.name] = rebuilt(here, view)
    rows = [(name, *one.values()) for name, one in shown.items()]
    columns = ("view", "lane", "taken from", "removed", "written", "seconds")
    show({"views": shown}, plain_table("Rebuilt", columns, rows), as_json=as_json)


def await_landing(home: Home) -> None:
    """Wait, for as long as it takes readers that live, until what their logs have now has been landed."""
    from sinks.reconcile_direct import LANDED_SECONDS

    segments = list(home.settings.direct_log.glob("*.log"))
    until = time.monotonic() + LANDED_SECONDS
    while any(segment.exists() for segment in segments) and time.monotonic() < until:
        time.sleep(0.5)


def rebuilt(home: Home, view: FeatureView) -> dict[str, Any]:
    from sinks.direct_writes import write_again
    from sinks.push import push_views
    from sinks.rebuild import hand_over
    from tailrace.refresh import run_bronze

    began = time.monotonic()
    handed = hand_over(home.store, view)
    if view.lane == BATCH:
        pushed = push_views(home.lake, home.store, [view], allowed="rebuilt")[view.name]
        written = pushed.pushed + pushed.removed
    elif view.lane == DIRECT:
        await_landing(home)
        run_bronze(home)
        written = write_again(home.lake, home.store, view)
    else:
        written = 0  # a stream counts on from what the store has
    return {
        "lane": view.lane,
        "taken_from": handed.before or "",
        "removed": handed.removed,
        "written": written,
        "seconds": round(time.monotonic() - began, 2),
    }
