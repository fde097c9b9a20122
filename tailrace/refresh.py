"""One refresh: what landed goes to bronze, silver, gold and, where it changed, to the online store."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from pyspark.sql import SparkSession

from contracts.slots import last_tick
from features.language import Definitions, load_definitions
from jobs import maintenance
from jobs.bronze import load
from jobs.bronze.load import Loaded
from jobs.gold import refresh as gold
from jobs.gold.refresh import Refreshed
from jobs.maintenance import Maintained
from jobs.silver import documents, interactions
from lake.session import open_session
from lake.tables import Lake
from settings import Settings
from sinks.ledger import Pushed
from sinks.push import push_views
from sinks.rows import Address

# Is told what begins, such as "gold"; says nothing by default.
Progress = Callable[[str], None]


def say_nothing(stage: str) -> None:
    """Report no progress."""


class Home:
    """What the commands of one home work on; each part is opened when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def definitions(self) -> Definitions:
        return load_definitions(self.settings.features)

    @cached_property
    def spark(self) -> SparkSession:
        return open_session(self.settings.spark)

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.spark, self.settings.lake, retention=timedelta(hours=self.settings.retention_hours))

    @cached_property
    def store(self) -> Address:
        return Address.of(self.settings)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole refresh: what landed, per view what became of gold and of the store, and the maintenance that was due."""

    as_of: datetime
    seconds: float
    landed: Loaded
    refreshed: dict[str, Refreshed]
    pushed: dict[str, Pushed]
    maintained: dict[str, Maintained]


def refresh(
    home: Home,
    *,
    as_of: datetime | None = None,
    full: bool = False,
    allowed: str | None = None,
    progress: Progress = say_nothing,
) -> Report:
    """Run every layer and the push; `as_of` is the last tick of the 15-minute grid if not given.

    `full` computes gold anew, and allows an `as_of` before the one that it holds. `allowed` is the reason for which a
    change may be larger than the breaker takes.
    """
    began = time.monotonic()
    as_of = as_of or last_tick(datetime.now(UTC))
    views = home.definitions.batch_views.values()
    progress("starting Spark")
    gold.check_as_of(home.lake, () if full else views, as_of)  # before anything is taken in
    before = maintenance.versions(home.lake, home.definitions)
    progress("bronze")
    landed = run_bronze(home)
    progress("silver")
    run_silver(home)
    progress("gold")
    refreshed = gold.run(home.lake, home.definitions, as_of=as_of, full=full)
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
    )


def run_bronze(home: Home) -> Loaded:
    return load.run(home.lake, home.settings.landing, now=datetime.now(UTC))


def run_silver(home: Home) -> None:
    interactions.run(home.lake)
    documents.run(home.lake)


def run_publish(home: Home, *, allowed: str | None = None) -> dict[str, Pushed]:
    views = home.definitions.batch_views.values()
    return push_views(home.lake, home.store, views, allowed=allowed)
