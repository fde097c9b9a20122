"""One refresh: what landed goes to bronze, silver, gold and, where it changed, to the online store."""

import logging
import time
from datetime import UTC, datetime

from jobs import maintenance
from jobs.bronze import load
from jobs.bronze.load import Loaded, catch_up
from jobs.bronze.set_aside import SetAside
from jobs.bronze.topic import PREFIX, topic_of
from jobs.gold import refresh as gold
from jobs.silver import merge
from jobs.silver.merge import Withdrawn
from jobs.streaming.heartbeat import has_run
from sinks import direct_writes
from sinks.ledger import Pushed
from sinks.push import push_views
from tailrace.schemas import landing, silver
from tailrace.schemas.slots import check_within_reach, last_tick
from tailrace.store.direct.replay import Log
from tailrace.workspace.report import Report
from tailrace.workspace.resources import Progress, Resources, say_nothing

log = logging.getLogger(__name__)


def refresh(
    workspace: Resources,
    *,
    as_of: datetime | None = None,
    full: bool = False,
    allowed: str | None = None,
    aside: SetAside | None = None,
    any_as_of: bool = False,
    progress: Progress = say_nothing,
) -> Report:
    """Run every layer and the push; `as_of` is the last tick of the 15-minute grid if not given.

    `full` computes gold anew, and allows an `as_of` before the one that it holds. `allowed` is the reason for which a
    change may be larger than the breaker takes. `aside` names landed files that are to be left out, also of what silver
    has read. `any_as_of` takes times beyond the next tick and before 1900.
    """
    began = time.monotonic()
    as_of = chosen_as_of(as_of, any_as_of=any_as_of)
    views = workspace.chosen.batch_views.values()
    progress("starting Spark")
    gold.check_as_of(workspace.lake, () if full else views, as_of)  # before anything is taken in
    before = maintenance.versions(workspace.lake, workspace.definitions)
    progress("bronze")
    landed = run_bronze(workspace, aside=aside)
    progress("silver")
    taken_back = run_silver(workspace)
    progress("gold")
    refreshed = gold.run(workspace.lake, workspace.chosen, as_of=as_of, full=full)
    progress("publish")
    pushed = run_publish(workspace, allowed=allowed)
    progress("maintenance")
    maintained = maintenance.run_due(workspace.lake, workspace.definitions, workspace.store, since=before)
    return Report(
        as_of=as_of,
        seconds=time.monotonic() - began,
        landed=landed,
        refreshed=refreshed,
        pushed=pushed,
        maintained=maintained,
        gates=workspace.gate.take_verdicts(),
        taken_back=taken_back,
        to_recount=views_to_recount(workspace, aside),
    )


def chosen_as_of(given: datetime | None, *, any_as_of: bool) -> datetime:
    """The time to refresh to, the last tick if none is given; raises `AsOfError` where it is out of reach."""
    now = datetime.now(UTC)
    if given is None:
        return last_tick(now)
    if not any_as_of:
        check_within_reach(given, now=now)
    return given


def run_bronze(workspace: Resources, *, aside: SetAside | None = None) -> Loaded:
    where = Log(folder=workspace.settings.direct_log, landing=workspace.settings.landing)
    if where.has_segments:
        for failure in direct_writes.finish_logs(workspace.store, workspace.definitions, where):
            log.warning("the log of direct writes: %s", failure)
    topic = topic_of(workspace.settings.stream)
    loaded = load.run(workspace.lake, workspace.settings.landing, now=datetime.now(UTC), aside=aside, topic=topic)
    for view in workspace.definitions.direct_views.values():
        direct_writes.record_writes(workspace.lake, view)
    return loaded


def catch_up_bronze(workspace: Resources) -> Loaded:
    """Bring all into bronze that has landed by now, whatever other loads are under way."""
    topic = topic_of(workspace.settings.stream)
    return catch_up(workspace.lake, workspace.settings.landing, lambda: run_bronze(workspace), topic=topic)


def run_silver(workspace: Resources) -> dict[str, Withdrawn]:
    """Bring silver up to date; returns what it gave back of files set aside, by table, where there were any."""
    tables = {silver.INTERACTIONS: merge.run_interactions, silver.DOCUMENTS: merge.run_documents}
    done = {table.full_name: bring(workspace.lake) for table, bring in tables.items()}
    return {name: back for name, back in done.items() if back != Withdrawn()}


def views_to_recount(workspace: Resources, aside: SetAside | None) -> tuple[str, ...]:
    """The views of the stream that may have counted events of files set aside: it reads the same source by itself."""
    if aside is None or not has_run(workspace.settings.home):
        return ()
    events, of_kafka = f"{landing.EVENTS.name}/", workspace.settings.stream.kafka is not None
    followed = (name.startswith(f"{events}{PREFIX}") == of_kafka for name in aside.files if name.startswith(events))
    return tuple(workspace.definitions.stream_views) if any(followed) else ()


def run_publish(workspace: Resources, *, allowed: str | None = None) -> dict[str, Pushed]:
    views = workspace.chosen.batch_views.values()
    return push_views(workspace.lake, workspace.store, views, allowed=allowed)
