"""A push run against the lake and the store: each step's effect, view by view."""

import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from pyspark.errors import PythonException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from sinks import history, protocol
from sinks.history import Pushed, Schema
from sinks.net_changes import (
    check_share,
    decided,
    definition_at,
    has_version,
    materialized_decisions,
    newest,
    online_rows,
    pin_of,
    rows_of_keys,
    rows_to_decide,
)
from sinks.protocol import CLOCK_BEHIND, FIRST_LOAD, REPAIR, SUPPRESS, PushFirst, Step, StoreAhead
from sinks.store_values import has_values, highest_sequence, write_changes
from tailrace.definitions import BatchView
from tailrace.errors import UnavailableError
from tailrace.lake.delta_log import HistoryLost
from tailrace.lake.session import ROWS
from tailrace.lake.tables import AT_ONCE, Lake
from tailrace.schemas.tables import Column
from tailrace.store.address import Address, with_store
from tailrace.store.control import Control, Cursor
from tailrace.store.failures import PATIENCE_SECONDS
from tailrace.store.lease import Sequenced, leased
from tailrace.store.writer import Outcome


class PushError(UnavailableError):
    """A push that stopped or whose figures do not add up; the message names the view and what happened."""


@dataclass(frozen=True)
class Changes:
    """Decided rows, and what was counted among them."""

    rows: DataFrame
    counts: dict[str, int]

    @property
    def to_write(self) -> int:
        return self.counts[ROWS] - self.counts["suppressed"]


class Push:
    """Does the steps of one push or repair; its resources, the lease first of all, it gives up at the end."""

    def __init__(self, lake: Lake, address: Address, view: BatchView, *, allowed: bool = False) -> None:
        self.lake = lake
        self.address = address
        self.view = view
        self.allowed = allowed
        self.counts: dict[str, int] = {}
        self.sequence = 0
        self.owner = ""
        self.as_of = 0
        self.gold_version = 0
        self.confirmed_at: int | None = None
        self.features_in_store: tuple[Column, ...] = ()
        self.new_items = False
        self.write_seconds = 0.0
        self.resources = ExitStack()

    def __enter__(self) -> "Push":
        return self

    def __exit__(self, *error: Any) -> None:
        self.resources.__exit__(*error)

    def run(self, asked: Generator[Step, Any, Any]) -> Any:
        """Do one step after the other; returns what comes after the last."""
        answer = None
        while True:
            try:
                step = asked.send(answer)
            except StopIteration as end:
                return end.value
            except (PushFirst, StoreAhead) as error:
                raise type(error)(f"view {self.view.name}: {error}") from error
            answer = EFFECTS[type(step)](self, step)

    def take_lease(self, _: protocol.TakeLease) -> Control:
        found = self.resources.enter_context(leased(self.address, self.view.name, seconds=self.address.lease_seconds))
        self.sequence, self.owner, self.as_of = found.sequence, found.lease_owner, found.watermark or 0
        self.features_in_store = found.features
        if found.cursor is None and history.last_sequence(self.lake, self.view) >= found.sequence:
            self.raise_sequence(protocol.RaiseSequence(found.sequence))
            raise StoreAhead(f"view {self.view.name}: {CLOCK_BEHIND}")
        return found

    def read_target(self, _: protocol.ReadTarget) -> Cursor:
        target, self.as_of = newest(self.lake, self.view)
        self.gold_version = target.version
        return target

    def check_feed(self, step: protocol.CheckFeed) -> str | None:
        try:
            self.lake.changes_since(self.view.table, since=pin_of(step.since), until=pin_of(step.until))
        except HistoryLost as lost:
            return str(lost)
        return None

    def look_for_values(self, _: protocol.LookForValues) -> bool:
        return with_store(self.address, lambda store: has_values(store, self.view.name))

    def look_for_record(self, step: protocol.LookForRecord) -> bool:
        return step.push is not None and history.has_record(self.lake, self.view, step.sequence, push=step.push)

    def read_open_keys(self, step: protocol.ReadOpenKeys) -> DataFrame | None:
        return history.open_keys(self.lake, self.view, after=step.after)

    def find_changes(self, step: protocol.FindChanges) -> tuple[Changes, int]:
        rows = rows_to_decide(self.lake, self.address, self.view, step)
        changes = self.decide(rows, suppress=step.plan.suppress)
        self.new_items = step.plan.how == FIRST_LOAD and not with_store(self.address, lambda store: store.has_items())
        if not self.allowed:
            gold = self.lake.read(self.view.table, version=step.until.version)
            check_share(self.view.name, step.plan, changes.counts, lambda: online_rows(gold, self.view).count())
        return changes, changes.to_write

    def find_repairs(self, step: protocol.FindRepairs) -> Changes:
        at = step.at
        if at.fingerprint != self.view.publication_fingerprint or not has_version(self.lake, self.view, at):
            raise PushFirst(f"view {self.view.name}: gold or its definition is not what it was at the cursor")
        self.gold_version = at.version
        gold = self.lake.read(self.view.table, version=at.version)
        return self.decide(rows_of_keys(step.keys, gold, self.view), suppress=False)

    def decide(self, rows: DataFrame, *, suppress: bool) -> Changes:
        found = self.resources.enter_context(
            materialized_decisions(decided(rows, self.view, suppress=suppress, as_of=self.as_of))
        )
        self.counts = found.counts
        return Changes(found.frame, found.counts)

    def record(self, step: protocol.Record) -> None:
        rows = step.changes.rows
        definition = definition_at(self.lake, self.view, self.gold_version)
        schema = Schema(view=self.view.name, features=self.view.features, definition=definition)
        known = (self.features_in_store,)
        history.ensure_recorded(self.lake, schema, first_sequence=lambda: step.sequence, known=known)
        history.record(self.lake, self.view, rows, sequence=step.sequence, push=self.owner, as_of=self.as_of)

    def declare(self, step: protocol.Declare) -> None:
        name, owner = self.view.name, self.owner
        with_store(
            self.address,
            lambda store: store.declare_push(name, sequence=step.sequence, known=step.known, owner=owner),
        )

    def raise_sequence(self, step: protocol.RaiseSequence) -> None:
        name, owner = self.view.name, self.owner
        last = history.last_sequence(self.lake, self.view)
        highest = max(last, with_store(self.address, lambda store: highest_sequence(store, name)) or 0)
        with_store(
            self.address,
            lambda store: store.raise_sequence(name, sequence=step.sequence, to=highest, owner=owner),
        )

    def confirm(self, step: protocol.Confirm) -> None:
        history.confirm(self.lake, self.view, sequence=step.sequence, push=self.owner, as_of=self.as_of)

    def write(self, step: protocol.Write) -> Outcome:
        changes: Changes = step.changes
        push = Sequenced(
            view=self.view.name,
            sequence=self.sequence,
            lease_seconds=self.address.lease_seconds,
            new_items=self.new_items,
        )
        # Neighbours together: a store on a B-tree takes them a third quicker, one that hashes keys does not mind.
        rows = changes.rows.where(F.col("action") != SUPPRESS).sortWithinPartitions("item_key")
        began = time.monotonic()
        try:
            outcome = write_changes(rows, self.address, push)
        except PythonException as error:
            last = str(error).strip().splitlines()[-1]  # of an executor's traceback, the error itself
            raise PushError(f"view {push.view}: the push stopped, its cursor has not moved: {last}") from error
        self.write_seconds = time.monotonic() - began
        refuse_failures(outcome, push.view)
        if outcome.written + outcome.removed + outcome.stale != changes.to_write:
            raise PushError(
                f"view {push.view}: {changes.to_write} rows were to be written, but the store took {outcome}"
            )
        return outcome

    def close(self, step: protocol.Close) -> None:
        name, features, watermark, owner = self.view.name, self.view.features, self.as_of, self.owner
        with_store(
            self.address,
            lambda store: store.close_push(
                name,
                sequence=step.sequence,
                cursor=step.cursor,
                watermark=watermark,
                features=features,
                owner=owner,
            ),
            patience=PATIENCE_SECONDS,
        )
        self.confirmed_at = time.time_ns() // 1000

    def figures(self, outcome: Outcome, *, how: str, why: str | None = None) -> Pushed:
        """What became of the push or repair."""
        return Pushed(
            how=how,
            why=why,
            sequence=self.sequence,
            as_of=self.as_of,
            confirmed_at=self.confirmed_at,
            change_rows=self.counts.get("images", 0),
            net=self.counts.get(ROWS, 0),
            pushed=outcome.written,
            removed=outcome.removed,
            suppressed=self.counts.get("suppressed", 0),
            stale=outcome.stale,
            bytes=outcome.bytes,
            requests=outcome.requests,
            bytes_sent=outcome.bytes_sent,
            write_seconds=self.write_seconds,
        )


EFFECTS: dict[type, Callable[[Push, Any], Any]] = {
    protocol.TakeLease: Push.take_lease,
    protocol.ReadTarget: Push.read_target,
    protocol.CheckFeed: Push.check_feed,
    protocol.LookForValues: Push.look_for_values,
    protocol.LookForRecord: Push.look_for_record,
    protocol.ReadOpenKeys: Push.read_open_keys,
    protocol.FindChanges: Push.find_changes,
    protocol.FindRepairs: Push.find_repairs,
    protocol.Record: Push.record,
    protocol.Declare: Push.declare,
    protocol.Write: Push.write,
    protocol.RaiseSequence: Push.raise_sequence,
    protocol.Confirm: Push.confirm,
    protocol.Close: Push.close,
}


def refuse_failures(outcome: Outcome, view: str) -> None:
    """Raise if the store refused rows for themselves: the others are written, and the next push writes them again."""
    if not outcome.refused:
        return
    reasons = "; ".join(f"{key!r}: {reason}" for key, reason in outcome.failed)
    more = outcome.refused - len(outcome.failed)
    raise PushError(
        f"view {view}: the store refused {outcome.refused} rows, the cursor has not moved: {reasons}"
        + (f"; and {more} more" if more else "")
    )


def push_views(
    lake: Lake, address: Address, views: Iterable[BatchView], *, allowed: str | None = None
) -> dict[str, Pushed]:
    """Push several views at once and enter them in the ledger; the first error is raised when all are done.

    `allowed` is the reason for which a change may be larger than the breaker takes.
    """
    run = history.Run(allowed)

    def push(view: BatchView) -> Pushed:
        return push_view(lake, address, view, allowed=allowed is not None)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        pushes = {view.name: pool.submit(push, view) for view in views}
    results = {name: one.exception() or one.result() for name, one in pushes.items()}
    try:
        history.append_runs(
            lake, run, {name: one for name, one in results.items() if isinstance(one, Pushed | Exception)}
        )
    finally:  # what became of the pushes comes before what became of the ledger
        done = {name: one.result() for name, one in pushes.items()}
    return done


def push_view(lake: Lake, address: Address, view: BatchView, *, allowed: bool = False) -> Pushed:
    """Bring the store's values of a view to gold's newest version; the cursor moves after every write.

    `allowed` lets a change through that is larger than the breaker takes.
    """
    began = time.monotonic()
    with Push(lake, address, view, allowed=allowed) as push:
        plan, outcome = push.run(protocol.push())
        pushed = push.figures(outcome or Outcome(), how=plan.how, why=plan.why)
    return replace(pushed, seconds=time.monotonic() - began)


def repair_keys(lake: Lake, address: Address, view: BatchView, keys: DataFrame) -> Pushed:
    """Write some keys as gold holds them at the cursor; raises `PushFirst` where a push has to go first."""
    began = time.monotonic()
    with Push(lake, address, view) as push:
        repaired = push.figures(push.run(protocol.repair(keys)), how=REPAIR)
    return replace(repaired, seconds=time.monotonic() - began)
