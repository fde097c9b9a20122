"""One refresh: what landed goes to bronze, silver, gold and, where it changed, to the online store."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property

from pyspark.sql import SparkSession

from jobs import maintenance
from jobs.bronze import load
from jobs.bronze.catch_up import catch_up
from jobs.bronze.load import Loaded
from jobs.bronze.set_aside import SetAside
from jobs.bronze.topic import PREFIX, topic_of
from jobs.gold import refresh as gold
from jobs.silver import documents, interactions
from jobs.silver.excluded import TakenBack
from jobs.streaming.alone import has_run
from sinks import direct_writes
from sinks.ledger import Pushed
from sinks.push import push_views
from sinks.rows import Address
from tailrace.definitions import Definitions, load_definitions
from tailrace.lake.log_store import check_log_store
from tailrace.lake.session import is_submitted, open_session
from tailrace.lake.tables import Lake
from tailrace.quality.gate import Gate
from tailrace.schemas import landing, silver
from tailrace.schemas.slots import check_within_reach, last_tick
from tailrace.settings import Settings, check_store_is_reachable
from tailrace.store.direct.replay import Log
from tailrace.workspace.report import Report
from tailrace.workspace.small_data import fitting

log = logging.getLogger(__name__)

# Is told what begins, such as "gold"; says nothing by default.
Progress = Callable[[str], None]


def say_nothing(stage: str) -> None:
    """Report no progress."""


class Home:
    """What the commands of one home work on; each part is opened when it is first needed.

    `views` names the views that are refreshed; all of them if none is named.
    """

    def __init__(self, settings: Settings, *, views: Iterable[str] = ()) -> None:
        self.settings = settings
        self.views = tuple(views)

    @cached_property
    def definitions(self) -> Definitions:
        return load_definitions(self.settings.features)

    @cached_property
    def chosen(self) -> Definitions:
        """The definitions of the views that gold and the store are refreshed of; maintenance is of all."""
        return self.definitions.only(self.views)

    @cached_property
    def spark(self) -> SparkSession:
        if not is_submitted():  # a cluster need not be asked for executors first
            check_store_is_reachable(self.settings, master=self.settings.spark.master)
        session = open_session(fitting(self.settings))
        check_store_is_reachable(self.settings, master=str(session.sparkContext.master))
        return session

    @cached_property
    def lake(self) -> Lake:
        check_log_store(
            self.settings.lake,
            spark_setting=self.spark.sparkContext.getConf().get,
            single_writer=self.settings.single_writer,
        )
        retention = timedelta(hours=self.settings.retention_hours)
        return Lake(self.spark, self.settings.lake, retention=retention, gate=self.gate)

    @cached_property
    def gate(self) -> Gate:
        return Gate(self.settings.home / "quality")

    @cached_property
    def store(self) -> Address:
        return Address.of(self.settings)


def refresh(
    home: Home,
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
    views = home.chosen.batch_views.values()
    progress("starting Spark")
    gold.check_as_of(home.lake, () if full else views, as_of)  # before anything is taken in
    before = maintenance.versions(home.lake, home.definitions)
    progress("bronze")
    landed = run_bronze(home, aside=aside)
    progress("silver")
    taken_back = run_silver(home)
    progress("gold")
    refreshed = gold.run(home.lake, home.chosen, as_of=as_of, full=full)
    progress("publish")
    pushed = run_publish(home, allowed=allowed)
    progress("maintenance")
    maintained = maintenance.run_due(home.lake, home.definitions, home.store, since=before)
    return Report(
        as_of=as_of,
        seconds=time.monotonic() - began,
        landed=landed,
        refreshed=refreshed,
        pushed=pushed,
        maintained=maintained,
        gates=home.gate.take_verdicts(),
        taken_back=taken_back,
        to_recount=views_to_recount(home, aside),
    )


def chosen_as_of(given: datetime | None, *, any_as_of: bool) -> datetime:
    """The time to refresh to, the last tick if none is given; raises `AsOfError` where it is out of reach."""
    now = datetime.now(UTC)
    if given is None:
        return last_tick(now)
    if not any_as_of:
        check_within_reach(given, now=now)
    return given


def run_bronze(home: Home, *, aside: SetAside | None = None) -> Loaded:
    where = Log(folder=home.settings.direct_log, landing=home.settings.landing)
    if where.has_segments:
        for failure in direct_writes.finish_logs(home.store, home.definitions, where):
            log.warning("the log of direct writes: %s", failure)
    topic = topic_of(home.settings.stream)
    loaded = load.run(home.lake, home.settings.landing, now=datetime.now(UTC), aside=aside, topic=topic)
    for view in home.definitions.direct_views.values():
        direct_writes.record(home.lake, view)
    return loaded


def catch_up_bronze(home: Home) -> Loaded:
    """Bring all into bronze that has landed by now, whatever other loads are under way."""
    topic = topic_of(home.settings.stream)
    return catch_up(home.lake, home.settings.landing, lambda: run_bronze(home), topic=topic)


def run_silver(home: Home) -> dict[str, TakenBack]:
    """Bring silver up to date; returns what it gave back of files set aside, by table, where there were any."""
    tables = {silver.INTERACTIONS: interactions.run, silver.DOCUMENTS: documents.run}
    done = {table.full_name: bring(home.lake) for table, bring in tables.items()}
    return {name: back for name, back in done.items() if back != TakenBack()}


def views_to_recount(home: Home, aside: SetAside | None) -> tuple[str, ...]:
    """The views of the stream that may have counted events of files set aside: it reads the same source by itself."""
    if aside is None or not has_run(home.settings.home):
        return ()
    events, of_kafka = f"{landing.EVENTS.name}/", home.settings.stream.kafka is not None
    followed = (name.startswith(f"{events}{PREFIX}") == of_kafka for name in aside.files if name.startswith(events))
    return tuple(home.definitions.stream_views) if any(followed) else ()


def run_publish(home: Home, *, allowed: str | None = None) -> dict[str, Pushed]:
    views = home.chosen.batch_views.values()
    return push_views(home.lake, home.store, views, allowed=allowed)
