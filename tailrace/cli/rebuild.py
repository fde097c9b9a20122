"""`tailrace rebuild`: what the lake knows is written into a store that lost it, and a view is given to another lane."""

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailrace.cli.output import AsJson, progress, show
from tailrace.cli.report import plain_table
from tailrace.definitions import BATCH, STREAM, FeatureView
from tailrace.local.streaming import settings_of_home
from tailrace.workspace.workspace import Workspace

if TYPE_CHECKING:
    from sinks.rebuild import HandedOver

app = typer.Typer()

Views = Annotated[list[str] | None, typer.Argument(metavar="[VIEW]...", help="All of them by default.")]


@app.command()
def rebuild(views: Views = None, *, as_json: AsJson = False) -> None:
    """Write what the lake knows of views into the store: after it was lost, or after a view's lane was changed.

    A view that another lane had is taken from it first, with all that it left. What the store has of later direct writes
    stays. The views of the stream are written together, and the stream has to be stopped.
    """
    from jobs.streaming.alone import has_run, rebuilding
    from jobs.streaming.run import views_of
    from tailrace.workspace.stream_home import source_of

    here = Workspace(settings=settings_of_home(), views=views or ())
    # A home that never had a stream has nothing of it to give back, unless it is asked for.
    with_stream = here.chosen.stream_views and (views or has_run(here.settings.home))
    if with_stream:  # before anything is half rebuilt
        source_of(here.settings).refuse_another()
    streamed = rebuilding(here.settings.home) if with_stream else nullcontext()
    with streamed, progress("rebuild") as told:  # the stream stays stopped from the first view on
        done = {}
        for view in here.chosen.views.values():
            if view.lane != STREAM:
                told(view.name)
                done[view.name] = rebuilt(here, view)
        if with_stream:
            told("the views of the stream")
            done |= rebuilt_stream(here, views_of(here.definitions))
    rows = [(name, *one.values()) for name, one in done.items()]
    columns = ("view", "lane", "taken from", "removed", "written", "seconds")
    show({"views": done}, plain_table("Rebuilt", columns, rows), as_json=as_json)


def await_landing(workspace: Workspace) -> None:
    """Wait, for as long as it takes readers that live, until what their logs have now has been landed."""
    from sinks.reconcile_direct import LANDED_SECONDS

    segments = list(workspace.settings.direct_log.glob("*.log"))
    until = time.monotonic() + LANDED_SECONDS
    while any(segment.exists() for segment in segments) and time.monotonic() < until:
        time.sleep(0.5)


def rebuilt(workspace: Workspace, view: FeatureView) -> dict[str, Any]:
    from sinks.direct_writes import write_again
    from sinks.push import push_views
    from sinks.rebuild import hand_over
    from tailrace.workspace.refresh import run_bronze

    began = time.monotonic()
    handed = hand_over(workspace.store, view)
    if view.lane == BATCH:
        pushed = push_views(workspace.lake, workspace.store, [view], allowed="rebuilt")[view.name]
        written = pushed.pushed + pushed.removed
    else:
        await_landing(workspace)
        run_bronze(workspace)
        written = write_again(workspace.lake, workspace.store, view)
    return shown(view, handed, written, seconds=time.monotonic() - began)


def rebuilt_stream(workspace: Workspace, views: list[FeatureView]) -> dict[str, dict[str, Any]]:
    """Views of the lane stream, all together: what one has taken the others that are counted by it must have."""
    from jobs.streaming.rebuild import rebuild_stream
    from sinks.rebuild import hand_over
    from tailrace.workspace.refresh import catch_up_bronze
    from tailrace.workspace.stream_home import source_of

    began = time.monotonic()
    handed = {view.name: hand_over(workspace.store, view) for view in views}
    catch_up_bronze(workspace)
    written = rebuild_stream(workspace.lake, workspace.store, views, source_of(workspace.settings))
    seconds = time.monotonic() - began
    return {view.name: shown(view, handed[view.name], written[view.name], seconds=seconds) for view in views}


def shown(view: FeatureView, handed: "HandedOver", written: int, *, seconds: float) -> dict[str, Any]:
    return {
        "lane": view.lane,
        "taken_from": handed.before or "",
        "removed": handed.removed,
        "written": written,
        "seconds": round(seconds, 2),
    }
