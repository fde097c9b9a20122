"""Views verified against their full computation, reconciled with the store, rebuilt in it, and backfilled."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any

from jobs import backfill
from jobs.bronze.topic import topic_of
from jobs.gold.verify import verify_view
from jobs.streaming.checkpoint import checkpoint_of, remember_views
from jobs.streaming.heartbeat import has_run, rebuilding
from jobs.streaming.repair import RecountSource, StreamInput
from jobs.streaming.run import fingerprints_of, refuse_other_definitions
from sinks.direct_writes import DirectSource
from sinks.rebuild import rebuild
from sinks.reconcile import GoldSource, Source, reconcile
from tailrace.definitions import Definitions
from tailrace.lake.task_progress import Progress, reporting_tasks
from tailrace.schemas.slots import AsOfError, to_text
from tailrace.workspace.refresh import catch_up_bronze, load_direct_writes
from tailrace.workspace.resources import Resources

Json = dict[str, Any]


def verify_all(workspace: Resources, progress: Progress) -> Json:
    """Compare every view's gold with the full computation; figures per view and in total."""
    views = {}
    for view in workspace.definitions.batch_views.values():
        progress(view.name)
        views[view.name] = asdict(verify_view(workspace.lake, workspace.definitions, view))
    total = {name: sum(view[name] for view in views.values()) for name in ("rows", "differing")}
    return total | {"views": views}


def reconcile_all(workspace: Resources, progress: Progress, *, repair: bool = False) -> Json:
    """Compare what every view's values should be with the store, and repair differences if asked; figures per view and in total."""
    if workspace.definitions.stream_views:  # a view that cannot be compared is reported before the others are compared
        stream = StreamInput.of(workspace.settings, workspace.definitions)
        stream.refuse_another()
        refuse_other_definitions(stream.checkpoint, workspace.definitions)
    views: dict[str, Json] = {}
    definitions = workspace.definitions
    for source in reconciliation_sources(workspace, definitions, progress, with_stream=bool(definitions.stream_views)):
        with reporting_tasks(workspace.spark, source.progress):
            views |= {name: asdict(found) for name, found in reconcile(source, repair=repair).items()}
    names = ("compared", "missing", "ghost", "different", "repaired", "in_motion")
    return {name: sum(view[name] for view in views.values()) for name in names} | {"views": views}


def rebuild_all(workspace: Resources, progress: Progress) -> Json:
    """Write what the lake has of the chosen views into the store; figures per view.

    A home that never had a stream has nothing of it to give back, unless its views are named.
    """
    chosen, home = workspace.chosen, workspace.settings.home
    with_stream = bool(chosen.stream_views and (workspace.views or has_run(home)))
    if with_stream:  # before anything is half rebuilt
        StreamInput.of(workspace.settings, workspace.definitions).refuse_another()
    done: dict[str, Json] = {}
    with rebuilding(home) if with_stream else nullcontext():  # the stream stays stopped throughout
        for source in reconciliation_sources(workspace, chosen, progress, with_stream=with_stream):
            progress(", ".join(view.name for view in source.views))
            done |= {name: asdict(one) for name, one in rebuild(source).items()}
        if with_stream:
            remember_views(checkpoint_of(home), fingerprints_of(workspace.definitions))
    return {"views": done}


def reconciliation_sources(
    workspace: Resources, definitions: Definitions, progress: Progress, *, with_stream: bool
) -> Iterator[Source]:
    """A source for each view of the lanes batch and direct, and one for all views of the stream, which comes last."""

    def of_view(view: str) -> Progress:
        return lambda step: progress(f"{view}: {step}")

    lake, store, settings = workspace.lake, workspace.store, workspace.settings
    for view in definitions.batch_views.values():
        yield GoldSource(lake=lake, address=store, view=view, progress=of_view(view.name))
    for written in definitions.direct_views.values():
        yield DirectSource(
            lake=lake,
            address=store,
            view=written,
            load=partial(load_direct_writes, workspace),
            log=settings.direct_log,
            progress=of_view(written.name),
        )
    if with_stream:
        yield RecountSource(
            lake=lake,
            address=store,
            input=StreamInput.of(settings, workspace.definitions),
            load=partial(catch_up_bronze, workspace),
            progress=of_view("stream"),
        )


def backfill_views(
    workspace: Resources, times: Sequence[datetime], *, id_: str, views: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """Compute the values of views at past times; figures per view. `views` has names, all that have a past if none."""
    now = datetime.now(UTC)
    if times[-1] > now:
        raise AsOfError(f"{to_text(times[-1])} is not past yet; give a time before {to_text(now)}")
    chosen = backfill.views_to_backfill(workspace.definitions, views)
    kafka = False
    if chosen.keys() & workspace.definitions.stream_views.keys():
        catch_up_bronze(workspace)  # a moment that is recorded has all its events
        kafka = topic_of(workspace.settings.stream, workspace.definitions.streamed_source) is not None
    done = backfill.run(workspace.lake, workspace.definitions, chosen, times, id_=id_, progress=progress, kafka=kafka)
    left_out = sorted(set(workspace.definitions.batch_views) - set(chosen)) if not views else []
    return {
        "id": id_,
        "times": len(times),
        "left_out": left_out,
        "views": {name: asdict(one) for name, one in done.items()},
    }
