"""Verify gold: compute every view in full, from what its state says it was computed from, and compare."""

from dataclasses import dataclass

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame

from jobs.gold.compute import compute, differing_keys
from jobs.gold.refresh import as_of_in, pins_in
from tailrace.definitions import BatchView, Definitions
from tailrace.lake import storage
from tailrace.lake.delta_log import Pin, State
from tailrace.lake.tables import Lake, LakeError
from tailrace.schemas.slots import to_text
from tailrace.schemas.tables import Table


@dataclass(frozen=True, kw_only=True)
class Verified:
    """One view: the rows of gold, and how many keys differ from the full computation or are on one side only."""

    as_of: str
    rows: int
    differing: int


def verify_view(lake: Lake, definitions: Definitions, view: BatchView) -> Verified:
    """Compare a view's gold table, as it is, with the full computation at the as-of and silver version it records."""
    pin = lake.pin(view.table)
    state = lake.state(view.table, version=pin.version)
    if state is None or not definitions.is_of(state.values.get("definition"), view):
        raise LakeError(f"{view.table.full_name} was not computed from this definition; run `tailrace refresh` first")
    for table in definitions.inputs_of(view):
        if table.full_name in pins_in(state):
            check_is_there(lake, view, table, pins_in(state)[table.full_name])
    gold = lake.read(view.table, version=pin.version)
    computed = compute_from_silver(lake, definitions, view, state)
    differing = differing_keys(gold, computed, view.table).count()
    return Verified(as_of=to_text(as_of_in(state)), rows=gold.count(), differing=differing)


def check_is_there(lake: Lake, view: BatchView, table: Table, pin: Pin) -> None:
    """Refuse a version of an input that is gone or is another than the view was computed from."""
    try:
        is_same = lake.pin(table, version=pin.version) == pin
        files = lake.read(table, version=pin.version).inputFiles() if is_same else []
    except AnalysisException:
        is_same = False
    if not is_same or not all(storage.is_there(lake.spark, file) for file in files):
        raise LakeError(
            f"{view.table.full_name} was computed from version {pin.version} of {table.full_name}, which is gone; run "
            "`tailrace refresh` and verify again, before the next vacuum"
        )


def compute_from_silver(lake: Lake, definitions: Definitions, view: BatchView, state: State) -> DataFrame:
    """A view in full; the base views that it counts are computed too: an error of theirs must not hide one here."""
    base_rows = {
        name: compute_from_silver(lake, definitions, definitions.batch_views[name], state) for name in view.base_views
    }
    return compute(lake, definitions, view, pins_in(state), as_of=as_of_in(state), base_rows=base_rows)
