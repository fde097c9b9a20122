"""Rebuild: what the lake knows of views is written into a store that lost it, or after a view went to another lane."""

import time
from contextlib import nullcontext
from functools import singledispatch
from typing import Any

from jobs.streaming.heartbeat import has_run, rebuilding
from jobs.streaming.repair import Source, rebuild_stream
from jobs.streaming.run import views_of
from sinks.direct_writes import write_again
from sinks.push import push_views
from sinks.rebuild import HandedOver, hand_over
from sinks.reconcile import LANDED_SECONDS
from tailrace.definitions import BatchView, DirectView, FeatureView, StreamView
from tailrace.workspace.refresh import catch_up_bronze, run_bronze
from tailrace.workspace.resources import Progress, Resources

Json = dict[str, Any]


def rebuild_all(workspace: Resources, progress: Progress) -> Json:
    """Rebuild the chosen views; figures per view.

    A home that never had a stream has nothing of it to give back, unless its views are named.
    """
    with_stream = workspace.chosen.stream_views and (workspace.views or has_run(workspace.settings.home))
    if with_stream:  # before anything is half rebuilt
        Source.of(workspace.settings).refuse_another()
    with rebuilding(workspace.settings.home) if with_stream else nullcontext():  # the stream stays stopped throughout
        done = {}
        for view in workspace.chosen.views.values():
            if view.name not in workspace.chosen.stream_views:
                progress(view.name)
                done[view.name] = rebuilt(workspace, view)
        if with_stream:
            progress("the views of the stream")
            done |= rebuilt_stream(workspace, views_of(workspace.definitions))
    return {"views": done}


def await_landing(workspace: Resources) -> None:
    """Wait, for as long as it takes readers that live, until what their logs have now has been landed."""
    segments = list(workspace.settings.direct_log.glob("*.log"))
    until = time.monotonic() + LANDED_SECONDS
    while any(segment.exists() for segment in segments) and time.monotonic() < until:
        time.sleep(0.5)


def rebuilt(workspace: Resources, view: FeatureView) -> Json:
    """A view that is rebuilt by itself."""
    began = time.monotonic()
    handed = hand_over(workspace.store, view)
    written = written_again(view, workspace)
    return figures(view, handed, written, seconds=time.monotonic() - began)


@singledispatch
def written_again(view: FeatureView, _: Resources) -> int:
    """Write all values that the lake knows of a view, and return how many; each class of views has a way."""
    raise TypeError(f"no way to rebuild views of the class {type(view).__name__}")


@written_again.register
def _(view: BatchView, workspace: Resources) -> int:
    pushed = push_views(workspace.lake, workspace.store, [view], allowed="rebuilt")[view.name]
    return pushed.pushed + pushed.removed


@written_again.register
def _(view: DirectView, workspace: Resources) -> int:
    await_landing(workspace)
    run_bronze(workspace)
    return write_again(workspace.lake, workspace.store, view)


def rebuilt_stream(workspace: Resources, views: list[StreamView]) -> dict[str, Json]:
    """Views of the lane stream, all together: what one has taken the others that are counted by it must have."""
    began = time.monotonic()
    handed = {view.name: hand_over(workspace.store, view) for view in views}
    catch_up_bronze(workspace)
    written = rebuild_stream(workspace.lake, workspace.store, views, Source.of(workspace.settings))
    seconds = time.monotonic() - began
    return {view.name: figures(view, handed[view.name], written[view.name], seconds=seconds) for view in views}


def figures(view: FeatureView, handed: HandedOver, written: int, *, seconds: float) -> Json:
    return {
        "lane": view.lane,
        "taken_from": handed.before or "",
        "removed": handed.removed,
        "written": written,
        "seconds": round(seconds, 2),
    }
