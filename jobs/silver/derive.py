"""Derived sources: silver rows that a function makes of other silver rows, brought forward by the parents that changed.

A derived table's commit carries what it was derived from: the versions of its parents and of the tables that it looks up,
and the fingerprint of its declaration. What look-ups that do not follow gave to a parent is committed before its rows, so
a run that is killed between the two finds it again.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.blocked import Blocked, raise_first
from jobs.silver.lookups import Pins, as_first_given, changed_parents, read_pinned, with_facts
from jobs.silver.row_by_row import derived
from tailrace.definitions import Definitions, DerivedSource, Lookup
from tailrace.definitions.derived_source import origins
from tailrace.definitions.fingerprints import description_of_lookup
from tailrace.lake import commit
from tailrace.lake.commit import Change
from tailrace.lake.delta_log import HistoryLost, Pin, State, overtaken
from tailrace.lake.session import ROWS, Materialized, materialized, to_join
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table

UNCHANGED = "unchanged"
INCREMENTAL = "incremental"
FULL = "full"
EXISTS = "_exists"


@dataclass(frozen=True, kw_only=True)
class Derived:
    """One derived source after a run: how it was done, and why in full; the parents that were derived, the rows of the
    table, how many of them now differ from before, and the seconds.
    """

    how: str
    why: str | None
    parents: int
    rows: int
    changed: int
    seconds: float


def run(lake: Lake, definitions: Definitions, blocked: Blocked | None = None) -> dict[str, Derived]:
    """Bring derived sources to the newest parents, each after those that it is derived from; by table.

    One waits while a source is blocked whose rows it is made of or looks up, and is blocked itself where it is refused,
    which is raised where no `blocked` is given.
    """
    met = Blocked() if blocked is None else blocked
    done: dict[str, Derived] = {}
    for name, source in definitions.derived.items():
        if not origins(source) & met.sources:
            with met.isolated(name):
                done[source.silver_table.full_name] = bring(lake, source)
    if blocked is None:
        raise_first(met.reasons, of=definitions.derived)
    return done


def bring(lake: Lake, source: DerivedSource) -> Derived:
    """Bring one derived source forward; where nothing came it costs no Spark job. Raises `Overtaken`."""
    began = time.monotonic()
    table = source.silver_table
    for one in (table, source.given_table):
        if one is not None:
            lake.create(one)
    # It goes on from what the table is now: a run that another one passes from here on commits nothing more.
    start = lake.pin(table)
    before = lake.state(table, version=start.version)
    inputs = {one.full_name: lake.pin(one) for one in inputs_of(source)}
    step = Derivation(lake, source, start, before, inputs)
    if before and before.exclusive and start.version == before.version and step.is_current(before):
        return Derived(
            how=UNCHANGED, why=None, parents=0, rows=before.rows, changed=0, seconds=time.monotonic() - began
        )
    how, why, parents = step.write()
    after = check_exclusive(lake, table, run_id=step.run_id)
    return Derived(
        how=how, why=why, parents=parents, rows=after.rows, changed=after.changed, seconds=time.monotonic() - began
    )


def inputs_of(source: DerivedSource) -> Iterator[Table]:
    """The tables that a derived source reads."""
    yield source.of.silver_table
    yield from (one.silver_table for one in source.looked_up)


def check_exclusive(lake: Lake, table: Table, *, run_id: str) -> State:
    """Notice, after the commit, a run that was overtaken: Delta skipped it, or it landed on another's version."""
    after = lake.state(table)
    if after is None or after.values.get("run") != run_id or not after.exclusive:
        raise overtaken(table)
    return after


@dataclass(frozen=True)
class Given:
    """The table of what parents were first given at a version, and the look-ups that it has this of."""

    table: Table
    version: int
    lookups: list[Lookup]


@dataclass(frozen=True)
class Derivation:
    """One run of one derived source, from the table as it was at `start` to the pinned inputs."""

    lake: Lake
    source: DerivedSource
    start: Pin
    before: State | None
    pins: Pins

    @cached_property
    def run_id(self) -> str:
        return uuid.uuid4().hex

    @cached_property
    def expected(self) -> dict[str, Any]:
        """What the table will have been derived from."""
        return {
            "inputs": {name: asdict(pin) for name, pin in self.pins.items()},
            "definition": self.source.fingerprint,
        }

    def is_current(self, state: State) -> bool:
        """Whether a state was derived from just this."""
        return all(state.values.get(name) == value for name, value in self.expected.items())

    def write(self) -> tuple[str, str | None, int]:
        """Commit the table; returns how, why in full, and the number of parents that were derived."""
        state = self.expected | {"run": self.run_id, "started_from": self.start.version}
        why = self.why_full()
        if self.before is not None and why is None:
            try:
                ids = changed_parents(self.lake, self.source, before=self.before.inputs, after=self.pins)
            except HistoryLost as error:
                why = str(error)
            else:
                return INCREMENTAL, None, self.bring_forward(ids, state | {"rows_before": self.before.rows})
        return FULL, why, self.derive_all(state)

    def why_full(self) -> str | None:
        """What rules out to go on from the table's rows."""
        before = self.before
        if before is None:
            return "nothing was derived before"
        if before.values.get("definition") != self.source.fingerprint:
            return "the definition changed"
        if not before.exclusive:
            return "the last run was overtaken by another"
        if self.lake.rows_written(self.source.silver_table, after=before.version, up_to=self.start.version):
            return "something else than a refresh wrote to it"
        return None

    def bring_forward(self, ids: DataFrame | None, state: dict[str, Any]) -> int:
        """Replace the rows of some parents, and leave all others."""
        table = self.source.silver_table
        if ids is None:
            commit.keep(self.lake, table, state=state)
            return 0
        self.lake.expect_rows()
        with materialized(ids) as named:
            if not named.counts[ROWS]:
                commit.keep(self.lake, table, state=state)
                return 0
            rows = read_pinned(self.lake, self.source.of.silver_table, self.pins)
            due = rows.join(joinable(named), on=[*self.source.parent_ids], how="left_semi")
            with materialized(self.with_facts(due)) as parents, self.derived(parents) as made:
                self.keep_given(parents, of=named)
                self.replace(table, made.frame, of=named, state=state)
            return named.counts[ROWS]

    def derive_all(self, state: dict[str, Any]) -> int:
        """Derive every parent, and touch only rows that differ."""
        self.lake.expect_rows()
        rows = read_pinned(self.lake, self.source.of.silver_table, self.pins)
        with materialized(self.with_facts(rows)) as parents, self.derived(parents) as made:
            self.keep_given(parents, of=None)
            commit.become(self.lake, self.source.silver_table, made.frame, state=state)
            return parents.counts[ROWS]

    def derived(self, parents: Materialized) -> AbstractContextManager[Materialized]:
        """The rows that the function makes of parents."""
        return derived(self.source, parents, turn=self.start.version)

    def with_facts(self, parents: DataFrame) -> DataFrame:
        """Parents with what they look up, or were first given."""
        rows = with_facts(self.lake, self.source, parents, self.pins)
        given = self.given
        if given is None or not given.lookups:
            return rows
        return as_first_given(self.source, rows, self.lake.read(given.table, version=given.version), given.lookups)

    @cached_property
    def given(self) -> Given | None:
        """What parents were first given; None where every look-up follows."""
        table = self.source.given_table
        if table is None:
            return None
        version = self.lake.version(table)
        state = self.lake.state(table, version=version)
        known = state.values["lookups"] if state else []
        return Given(table, version, [one for one in self.source.kept_lookups if description_of_lookup(one) in known])

    def keep_given(self, parents: Materialized, *, of: Materialized | None) -> None:
        """Record what parents were given by look-ups that do not follow, before the rows that are made with it."""
        if self.given is None:
            return
        table, lookups = self.given.table, [description_of_lookup(one) for one in self.source.kept_lookups]
        state = {"run": self.run_id, "started_from": self.given.version, "lookups": lookups}
        rows = parents.frame.select(*table.columns)
        if of is None:
            commit.become(self.lake, table, rows, state=state)
        else:
            self.replace(table, rows, of=of, state=state)
        # Delta skips a first fill that another run was faster with; its rows would be made with other values.
        check_exclusive(self.lake, table, run_id=self.run_id)

    def replace(self, table: Table, rows: DataFrame, *, of: Materialized, state: dict[str, Any]) -> None:
        """Make `rows` the table's rows of the parents `of`; others of these parents go."""
        kept = self.lake.read(table, version=state["started_from"]).select(*table.key)
        kept = kept.join(joinable(of), on=[*self.source.parent_ids], how="left_semi")
        due = kept.join(rows.withColumn(EXISTS, F.lit(True)), on=[*table.key], how="full")  # unique on both sides
        with materialized(due) as replaced:
            commit.change(self.lake, table, change_to(joinable(replaced), table), state=state)


def joinable(rows: Materialized) -> DataFrame:
    """Computed rows, for a join with a table."""
    return to_join(rows.frame, rows=rows.counts[ROWS])


def change_to(rows: DataFrame, table: Table) -> Change:
    """Rows as they shall be, `EXISTS` null where there shall be none."""
    own = {name: f"new.`{name}`" for name in table.columns}
    others = [name for name in table.columns if name not in table.key]
    return Change(
        rows=rows,
        update=own,
        insert=own,
        differs=" OR ".join(f"NOT (old.`{name}` <=> new.`{name}`)" for name in others) or "false",
        gone=f"new.{EXISTS} IS NULL",
        exists=f"new.{EXISTS}",
    )
