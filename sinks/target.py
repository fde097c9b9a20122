"""What a push goes to, and the rows that it has to decide upon on the way there."""

from datetime import datetime

from pyspark.sql import DataFrame

from sinks.net_changes import first_load, net_changes, rows_of, snapshot, spread, with_keys
from sinks.protocol import CHANGES, FIRST_LOAD
from sinks.rows import Address
from sinks.steps import FindChanges
from sinks.store_scan import stored_values
from tailrace.definitions import FeatureView
from tailrace.lake.history import Pin
from tailrace.lake.tables import Lake, LakeError
from tailrace.schemas.slots import to_micros
from tailrace.store.control import Cursor


def rows_to_decide(lake: Lake, address: Address, view: FeatureView, step: FindChanges) -> DataFrame:
    """The rows of `sinks.net_changes` that a plan asks for."""
    plan, since, until = step.plan, step.since, step.until
    gold = lake.read(view.table, version=until.version)
    if plan.how == FIRST_LOAD:
        return first_load(gold, view)
    if plan.how == CHANGES and since is not None:
        if since == until:  # an open push is all there is
            return spread(rows_of(plan.open_keys, gold, view))
        rows = net_changes(lake.changes(view.table, start=since.version + 1, end=until.version), view)
    else:
        rows = snapshot(gold, stored_values(lake.spark, address, view.name), view)
    return rows if plan.open_keys is None else with_keys(rows, plan.open_keys, gold, view)


def newest(lake: Lake, view: FeatureView) -> tuple[Cursor, int]:
    """Gold's newest version as a cursor, and its as-of in microseconds."""
    pin = lake.pin(view.table)
    state = lake.state(view.table, version=pin.version)
    if state is None:
        raise LakeError(f"{view.table.full_name} has no refresh state; run `tailrace refresh`")
    if not state.alone:
        raise LakeError(
            f"{view.table.full_name} was written by two refreshes at once; run `tailrace refresh`, which mends it"
        )
    cursor = Cursor(
        table_id=pin.table_id, version=pin.version, commit=pin.commit, fingerprint=view.publication_fingerprint
    )
    return cursor, to_micros(datetime.fromisoformat(state.values["as_of"]))


def definition_at(lake: Lake, view: FeatureView, version: int) -> str | None:
    """The fingerprint of the definition that gold was computed by at a version; None where no commit says so."""
    state = lake.state(view.table, version=version)
    return state.values.get("definition") if state else None


def has_version(lake: Lake, view: FeatureView, cursor: Cursor) -> bool:
    """Whether gold still has the version of a cursor, and as the same commit."""
    return lake.pin(view.table, version=cursor.version) == pin_of(cursor)


def pin_of(cursor: Cursor) -> Pin:
    return Pin(cursor.table_id, cursor.version, cursor.commit)
