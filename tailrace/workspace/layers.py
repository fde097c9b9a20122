"""Single layers and the reconciliation, as the command line runs them."""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

from jobs import maintenance
from jobs.bronze.set_aside import SetAside, is_all_read, last_read
from jobs.gold import refresh as gold
from jobs.gold.verify import verify_view
from jobs.streaming.repair import Source, reconcile_stream
from jobs.streaming.run import views_of
from sinks.purge import LookedOver, look_over
from sinks.reconcile import reconcile_direct, reconcile_view, repair_view
from tailrace.lake.session import reporting_tasks
from tailrace.schemas import silver
from tailrace.schemas.slots import to_text
from tailrace.store.failures import StoreError
from tailrace.workspace.refresh import (
    catch_up_bronze,
    chosen_as_of,
    run_bronze,
    run_publish,
    run_silver,
    views_to_recount,
)
from tailrace.workspace.report import recount_json, taken_back_json
from tailrace.workspace.resources import Progress, Resources
from tailrace.workspace.undefined import found_in_everything

Json = dict[str, Any]


def run_layer(
    workspace: Resources,
    layer: str,
    *,
    as_of: datetime | None,
    full: bool,
    allowed: str | None,
    aside: SetAside | None,
    any_as_of: bool = False,
) -> Json:
    """Run bronze, silver, gold or publish; returns its figures, those of its quality gate under `gates`."""
    as_of = chosen_as_of(as_of, any_as_of=any_as_of)
    figures = figures_of(workspace, layer, as_of=as_of, full=full, allowed=allowed, aside=aside)
    return figures | {"gates": {table: asdict(found) for table, found in workspace.gate.take_verdicts().items()}}


def figures_of(
    workspace: Resources, layer: str, *, as_of: datetime, full: bool, allowed: str | None, aside: SetAside | None
) -> Json:
    if layer == "bronze":
        loaded = asdict(run_bronze(workspace, aside=aside)) | {"all_read": is_all_read(workspace.lake)}
        return loaded | recount_json(views_to_recount(workspace, aside))
    if layer == "silver":
        taken_back = taken_back_json(run_silver(workspace))
        return {"load": last_read(workspace.lake, silver.INTERACTIONS)} | taken_back
    if layer == "gold":
        refreshed = gold.run(workspace.lake, workspace.chosen, as_of=as_of, full=full)
        return {"as_of": to_text(as_of), "views": {name: asdict(one) for name, one in refreshed.items()}}
    pushed = run_publish(workspace, allowed=allowed)
    return {"views": {name: asdict(one) | {"rows_per_second": one.rows_per_second} for name, one in pushed.items()}}


def verify_all(workspace: Resources, progress: Progress) -> Json:
    """Compare every view's gold with the full computation; figures per view and in total."""
    views = {}
    for view in workspace.definitions.batch_views.values():
        progress(view.name)
        views[view.name] = asdict(verify_view(workspace.lake, workspace.definitions, view))
    total = {name: sum(view[name] for view in views.values()) for name in ("rows", "differing")}
    return total | {"views": views}


def reconcile_all(workspace: Resources, progress: Progress, *, repair: bool = False) -> Json:
    """Compare every view's gold, or the values written of it, with the store, and repair differences if asked; figures per view and in total."""
    if workspace.definitions.stream_views:  # a view that cannot be compared is reported before the others are compared
        Source.of(workspace.settings).refuse_another()
    views = {}
    for view in workspace.definitions.batch_views.values():
        told = partial(tell_of_view, progress, view.name)
        with reporting_tasks(workspace.spark, told):
            if repair:
                done = repair_view(workspace.lake, workspace.store, view, told=told)
            else:
                done = reconcile_view(workspace.lake, workspace.store, view, told=told)
        views[view.name] = asdict(done)
    for written in workspace.definitions.direct_views.values():
        told = partial(tell_of_view, progress, written.name)
        load = partial(run_bronze, workspace)
        views[written.name] = asdict(
            reconcile_direct(workspace.lake, workspace.store, written, load=load, repair=repair, told=told)
        )
    if workspace.definitions.stream_views:
        views |= reconcile_stream_views(workspace, progress, repair=repair)
    names = ("compared", "missing", "ghost", "different", "repaired", "in_motion")
    return {name: sum(view[name] for view in views.values()) for name in names} | {"views": views}


def reconcile_stream_views(workspace: Resources, progress: Progress, *, repair: bool) -> dict[str, Json]:
    views, source = views_of(workspace.definitions), Source.of(workspace.settings)
    load, told = partial(catch_up_bronze, workspace), partial(tell_of_view, progress, "stream")
    done = reconcile_stream(workspace.lake, workspace.store, views, source, load=load, repair=repair, told=told)
    return {name: asdict(one) for name, one in done.items()}


def tell_of_view(progress: Progress, view: str, what: str) -> None:
    progress(f"{view}: {what}")


def maintain_all(workspace: Resources) -> Json:
    """Compact and vacuum every table, forget old direct writes, and look for views that no definition has; figures per table.

    What became of the tables is reported also where the store is away: `failure` says so then.
    """
    tables = maintenance.run(workspace.lake, workspace.definitions, workspace.store)
    lost = maintenance.lost_schemas(workspace.lake, workspace.definitions, workspace.store)
    seen, undefined, failure = LookedOver(), dict[str, Json](), None
    try:
        seen = look_over(workspace.store)
        undefined = found_in_everything(workspace, seen.views)
    except StoreError as error:
        failure = maintenance.first_line(error)
    return {
        "tables": {name: asdict(one) for name, one in tables.items()},
        "forgotten_writes": seen.forgotten,
        "lost_schemas": lost,
        "undefined": undefined,
        "failure": failure,
    }
