"""One refresh, each of its layers by itself, maintenance, and what they report."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from jobs import maintenance
from jobs.blocked import (
    BRONZE,
    SILVER,
    BlockedSources,
    SourcesBlocked,
    Waiting,
    blocked_in,
    blocked_json,
    left_behind,
    note_left_behind,
    raise_first,
    waiting_views,
    without,
)
from jobs.bronze import load
from jobs.bronze.load import Intake, Loaded, catch_up
from jobs.bronze.set_aside import FilesToExclude, is_all_read, last_read
from jobs.bronze.topic import PREFIX, topic_of, topics_of
from jobs.gold import refresh as gold
from jobs.gold.refresh import OPTIONAL, Refreshed
from jobs.maintenance import Maintained
from jobs.silver import follow
from jobs.silver.derive import Derived
from jobs.silver.follow import Followed
from jobs.silver.merge import Withdrawn
from jobs.streaming.heartbeat import has_run
from sinks import direct_writes
from sinks.history import Pushed
from sinks.purge import LookedOver, look_over
from sinks.push import push_views
from tailrace.lake.session import first_line
from tailrace.lake.task_progress import Progress, say_nothing
from tailrace.quality.gate import Verdict
from tailrace.schemas.landing import DIRECT_WRITES
from tailrace.schemas.slots import check_within_reach, last_tick, to_text
from tailrace.store.direct.log import Log
from tailrace.store.failures import StoreError
from tailrace.workspace.resources import Resources
from tailrace.workspace.silver_layer import run_silver
from tailrace.workspace.undefined import found_in_everything

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole refresh: what landed, per view what became of gold and of the store, the maintenance that was due, and what
    the quality gate found per table.

    `withdrawn` is what silver gave back of excluded files, per table, and `derived` what became of each derived one;
    `tables` has what was read of tables of others, per source. `to_recount` are the views of the stream that may have
    counted these files. `blocked` are the sources that were refused, and `waiting` the views that
    wait for them.
    """

    as_of: datetime
    seconds: float
    landed: Loaded
    refreshed: dict[str, Refreshed]
    pushed: dict[str, Pushed]
    maintained: dict[str, Maintained]
    gates: dict[str, Verdict]
    withdrawn: dict[str, Withdrawn]
    to_recount: tuple[str, ...]
    derived: dict[str, Derived] = field(default_factory=dict)
    tables: dict[str, Followed] = field(default_factory=dict)
    blocked: BlockedSources = field(default_factory=dict)
    waiting: Waiting = field(default_factory=dict)

    def json(self) -> Json:
        """The object that `tailrace refresh --json` prints."""
        return refresh_json(self)


def refresh_json(report: Report) -> Json:
    """A refresh as `tailrace refresh --json` prints it.

    `maintained` is there only where something was due, `taken_back` and `recount` where files were excluded, `derived`
    where sources are derived, `tables` where sources read tables of others, `blocked` and `views_waiting` where sources
    were refused.
    """
    shown = {
        "as_of": to_text(report.as_of),
        "seconds": round(report.seconds, 3),
        "landed": report.landed.json(),
        "views": {view: view_json(report, view) for view in report.refreshed},
        "gates": {table: asdict(found) for table, found in report.gates.items()},
    }
    maintained = {table: asdict(one) for table, one in report.maintained.items()}
    shown |= withdrawn_json(report.withdrawn) | tables_json(report.tables) | derived_json(report.derived)
    shown |= recount_json(report.to_recount)
    shown |= blocked_json(report.blocked, report.waiting)
    return shown | ({"maintained": maintained} if maintained else {})


def withdrawn_json(withdrawn: Mapping[str, Withdrawn]) -> Json:
    """What silver gave back of excluded files, by table; nothing where that is nothing."""
    return {"taken_back": {table: asdict(back) for table, back in withdrawn.items()}} if withdrawn else {}


def tables_json(followed: Mapping[str, Followed]) -> Json:
    """What was read of tables of others, by source; nothing where there are none."""
    return {"tables": {source: asdict(one) for source, one in followed.items()}} if followed else {}


def derived_json(derived: Mapping[str, Derived]) -> Json:
    """What became of derived tables, by table; nothing where there are none."""
    return {"derived": {table: asdict(one) for table, one in derived.items()}} if derived else {}


def recount_json(views: Sequence[str]) -> Json:
    """The views of the stream that are to be counted again, and by which command; nothing where there are none."""
    return {"recount": {"views": list(views), "command": f"tailrace rebuild {' '.join(views)}"}} if views else {}


def view_json(report: Report, view: str) -> Json:
    refreshed, pushed = report.refreshed[view], report.pushed[view]
    return {
        "gold_rows": refreshed.gold_rows,
        "changed": refreshed.changed,
        "computed": refreshed.how,
        "why": refreshed.why,
        "pushed": pushed.pushed,
        "removed": pushed.removed,
        "suppressed": pushed.suppressed,
        "stale": pushed.stale,
        "how": pushed.how,
        "why_snapshot": pushed.why,
        "seconds": round(refreshed.seconds + pushed.seconds, 3),
        **{name: value for name, value in refreshed.figures.items() if name in OPTIONAL},
    }


log = logging.getLogger(__name__)


def refresh(
    workspace: Resources,
    *,
    as_of: datetime | None = None,
    full: bool = False,
    allowed: str | None = None,
    aside: FilesToExclude | None = None,
    any_as_of: bool = False,
    progress: Progress = say_nothing,
) -> Report:
    """Run every layer and the push; `as_of` is the last tick of the 15-minute grid if not given.

    `full` computes gold anew, and allows an `as_of` before the one that it holds. `allowed` is the reason for which a
    change may be larger than the breaker takes. `aside` names landed files that are to be left out, also of what silver
    has read. `any_as_of` takes times beyond the next tick and before 1900.

    Raises `SourcesBlocked` where sources were refused, once all others are refreshed and pushed.
    """
    began = time.monotonic()
    as_of = chosen_as_of(as_of, any_as_of=any_as_of)
    views = workspace.chosen.batch_views.values()
    progress("starting Spark")
    gold.check_as_of(workspace.lake, () if full else views, as_of)  # before anything is loaded
    before = maintenance.versions(workspace.lake, workspace.definitions)
    progress("bronze")
    landed = run_bronze(workspace, aside=aside)
    progress("silver")
    silver = run_silver(workspace)
    waiting = waiting_views(workspace.chosen, workspace.lake)
    chosen = without(workspace.chosen, waiting)
    progress("gold")
    refreshed = gold.run(workspace.lake, chosen, as_of=as_of, full=full)
    progress("publish")
    pushed = push_views(workspace.lake, workspace.store, chosen.batch_views.values(), allowed=allowed)
    progress("maintenance")
    maintained = maintenance.run_due(workspace.lake, workspace.definitions, workspace.store, since=before)
    report = Report(
        as_of=as_of,
        seconds=time.monotonic() - began,
        landed=landed,
        refreshed=refreshed,
        pushed=pushed,
        maintained=maintained,
        gates=workspace.gate.take_verdicts(),
        withdrawn=silver.withdrawn,
        to_recount=views_to_recount(workspace, aside),
        derived=silver.derived,
        tables=silver.tables,
        blocked={**silver.blocked, **blocked_in(BRONZE, landed.blocked)},
        waiting=waiting,
    )
    if report.blocked:
        raise SourcesBlocked(report, report.blocked)
    return report


def chosen_as_of(given: datetime | None, *, any_as_of: bool) -> datetime:
    """The time to refresh to, the last tick if none is given; raises `AsOfError` where it is out of reach."""
    now = datetime.now(UTC)
    if given is None:
        return last_tick(now)
    if not any_as_of:
        check_within_reach(given, now=now)
    return given


def intake_of(workspace: Resources) -> Intake:
    """What loads of a home take."""
    settings, definitions = workspace.settings, workspace.definitions
    topics = topics_of(settings.stream, definitions)
    return Intake(folder=settings.landing, feeds=definitions.feeds, topics=topics)


def run_bronze(workspace: Resources, *, aside: FilesToExclude | None = None) -> Loaded:
    where = Log(folder=workspace.settings.direct_log, landing=workspace.settings.landing)
    if where.has_segments:
        for failure in direct_writes.finish_logs(workspace.store, workspace.definitions, where):
            log.warning("the log of direct writes: %s", failure)
    loaded = load.run(workspace.lake, intake_of(workspace), now=datetime.now(UTC), aside=aside)
    note_left_behind(workspace.lake, BRONZE, loaded.blocked)
    for view in workspace.definitions.direct_views.values():
        direct_writes.record_writes(workspace.lake, view)
    return loaded


def load_direct_writes(workspace: Resources) -> Loaded:
    """A load after which bronze has every direct write that had landed; raises where these are blocked."""
    loaded = run_bronze(workspace)
    raise_first(loaded.blocked, of=[DIRECT_WRITES.name])
    return loaded


def catch_up_bronze(workspace: Resources) -> Loaded:
    """Bring all into bronze that has landed by now for the stream's source, whatever other loads are under way."""
    intake = intake_of(workspace).only(workspace.definitions.streamed_source.name)
    return catch_up(workspace.lake, intake, lambda: run_bronze(workspace))


def views_to_recount(workspace: Resources, aside: FilesToExclude | None) -> tuple[str, ...]:
    """The views of the stream that may have counted events of excluded files: it reads the same source by itself."""
    if aside is None or not has_run(workspace.settings.home):
        return ()
    source = workspace.definitions.streamed_source
    events, of_kafka = f"{source.name}/", topic_of(workspace.settings.stream, source) is not None
    followed = (name.startswith(f"{events}{PREFIX}") == of_kafka for name in aside.files if name.startswith(events))
    return tuple(workspace.definitions.stream_views) if any(followed) else ()


def run_layer(
    workspace: Resources,
    layer: str,
    *,
    as_of: datetime | None,
    full: bool,
    allowed: str | None,
    aside: FilesToExclude | None,
    any_as_of: bool = False,
) -> Json:
    """Run bronze, silver, gold or publish; returns its figures, those of its quality gate under `gates`."""
    as_of = chosen_as_of(as_of, any_as_of=any_as_of)
    figures = layer_figures(workspace, layer, as_of=as_of, full=full, allowed=allowed, aside=aside)
    return figures | {"gates": {table: asdict(found) for table, found in workspace.gate.take_verdicts().items()}}


def layer_figures(
    workspace: Resources, layer: str, *, as_of: datetime, full: bool, allowed: str | None, aside: FilesToExclude | None
) -> Json:
    lake = workspace.lake
    if layer == "bronze":
        loaded = run_bronze(workspace, aside=aside)
        # What silver left behind it tries again, though nothing came, and what came to tables of others lands nowhere.
        is_read = is_all_read(lake, workspace.definitions.feeds) and not left_behind(lake, SILVER)
        is_read = is_read and follow.has_newest(lake, workspace.definitions.table_feeds, now=datetime.now(UTC))
        shown = loaded.json() | {"all_read": is_read} | recount_json(views_to_recount(workspace, aside))
        return shown | blocked_json(blocked_in(BRONZE, loaded.blocked), {})
    if layer == "silver":
        done = run_silver(workspace)
        loads = (last_read(lake, feed.silver) for feed in workspace.definitions.feeds if feed.silver)
        made = withdrawn_json(done.withdrawn) | tables_json(done.tables) | derived_json(done.derived)
        return {"load": max(loads, default=0)} | made | blocked_json(done.blocked, {})
    waiting = waiting_views(workspace.chosen, lake)
    chosen = without(workspace.chosen, waiting)
    if layer == "gold":
        refreshed = gold.run(lake, chosen, as_of=as_of, full=full)
        shown = {"as_of": to_text(as_of), "views": {name: one.figures for name, one in refreshed.items()}}
        return shown | blocked_json({}, waiting)
    pushed = push_views(lake, workspace.store, chosen.batch_views.values(), allowed=allowed)
    shown = {"views": {name: asdict(one) | {"rows_per_second": one.rows_per_second} for name, one in pushed.items()}}
    return shown | blocked_json({}, waiting)


def maintain_all(workspace: Resources) -> Json:
    """Compact and vacuum every table, forget old direct writes, and look for views that no definition has; figures per table.

    What became of the tables is reported also where the store is away: `failure` says so then.
    """
    tables = maintenance.run(workspace.lake, workspace.definitions, workspace.store)
    lost = maintenance.schemas_lost(workspace.lake, workspace.definitions, workspace.store)
    seen, undefined, failure = LookedOver(), dict[str, Json](), None
    try:
        seen = look_over(workspace.store)
        undefined = found_in_everything(workspace, seen.views)
    except StoreError as error:
        failure = first_line(error)
    return {
        "tables": {name: asdict(one) for name, one in tables.items()},
        "forgotten_writes": seen.forgotten,
        "lost_schemas": lost,
        "undefined": undefined,
        "failure": failure,
    }
