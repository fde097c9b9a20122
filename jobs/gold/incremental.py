"""Bring a declarative view forward by what changed, without computing it anew."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.gold.increments import increments, settle
from jobs.gold.signed import signed_interactions
from tailrace.definitions import FeatureView, Window
from tailrace.definitions.aggregations.gold_column import Upkeep
from tailrace.definitions.aggregations.sql import LOST
from tailrace.definitions.view import INTERACTIONS
from tailrace.lake import commit
from tailrace.lake.held import ROWS, held, to_join
from tailrace.lake.history import Pin
from tailrace.lake.rewrite import Change
from tailrace.lake.tables import Lake
from tailrace.schemas import silver
from tailrace.schemas.tables import Table


@dataclass(frozen=True, kw_only=True)
class Step:
    """From what gold was computed from to what it shall be computed from."""

    since: datetime
    until: datetime
    before: Mapping[str, Pin]
    after: Mapping[str, Pin]


@dataclass(frozen=True)
class SignedRows:
    """The signed interactions of one refresh, gathered once for all views that stand at the same point."""

    lake: Lake
    windows: frozenset[Window]
    gathered: dict[tuple[datetime, Pin], DataFrame] = field(default_factory=dict)
    gathering: Lock = field(default_factory=Lock)
    until_released: ExitStack = field(default_factory=ExitStack)

    def of(self, step: Step) -> DataFrame:
        with self.gathering:
            return self._of(step)

    def _of(self, step: Step) -> DataFrame:
        table = silver.INTERACTIONS
        before, after = step.before[table.full_name], step.after[table.full_name]
        if (step.since, before) not in self.gathered:
            rows = signed_interactions(
                self.lake.read(table, version=after.version),
                self.lake.changes_since(table, since=before, until=after),
                windows=self.windows,
                since=step.since,
                until=step.until,
            )
            self.gathered[step.since, before] = self.until_released.enter_context(held(rows)).frame
        return self.gathered[step.since, before]

    def release(self) -> None:
        self.until_released.close()


def add_changes(
    lake: Lake,
    view: FeatureView,
    signed: SignedRows,
    step: Step,
    *,
    finer: Mapping[str, Table],
    state: dict[str, Any],
) -> None:
    """Add to a view's gold table what one step changes.

    Raises `HistoryLost` where a change feed does not reach from one end of the step to the other.
    """
    feeds = {
        name: lake.changes_since(table, since=step.before[table.full_name], until=step.after[table.full_name])
        for name, table in finer.items()
    }
    with held(increments(signed.of(step), view, finer=feeds), totals={LOST: F.col(LOST).cast("int")}) as found:
        rows = found.frame
        if found.counts[LOST]:
            interactions = lake.read(silver.INTERACTIONS, version=step.after[silver.INTERACTIONS.full_name].version)
            rows = settle(found, interactions, view, as_of=step.until)
        if found.counts[ROWS]:
            rows = to_join(rows, rows=found.counts[ROWS])
            commit.change(lake, view.table, change_by(rows, view), state=state)
        else:
            commit.keep(lake, view.table, state=state)


def change_by(increments_: DataFrame, view: FeatureView) -> Change:
    """What the increments of some keys do to a view's gold table."""
    columns = view.gold_columns
    differs = [
        f"new.{column.name} <> 0" if column.upkeep is Upkeep.ADDED else f"NOT (old.{column.name} <=> {column.merged})"
        for column in columns
    ]
    count = INTERACTIONS.name
    return Change(
        rows=increments_,
        update={column.name: column.merged for column in columns},
        insert={key: f"new.{key}" for key in view.keys} | {column.name: column.inserted for column in columns},
        differs=" OR ".join(differs),
        gone=f"old.{count} + new.{count} = 0",
        exists=f"new.{count} > 0",
    )
