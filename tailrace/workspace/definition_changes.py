"""What the next refresh does because definitions changed: views that it computes in full, and rows that it pushes for it."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from jobs.streaming.checkpoint import checkpoint_of, remembered_views
from sinks.net_changes import is_online
from tailrace.definitions import BatchView, Definitions, DerivedSource, FeatureView
from tailrace.definitions.derived_source import Source
from tailrace.lake.delta_log import State
from tailrace.schemas.tables import Table
from tailrace.schemas.view_tables import RUNS
from tailrace.store.address import Address, with_store
from tailrace.store.control import Control, known_schemas, owner_of, stored_schema
from tailrace.store.failures import StoreError
from tailrace.workspace.lane_plan import PRICE, UNIT_BYTES
from tailrace.workspace.resources import Resources
from tailrace.workspace.undefined import found_in_everything, undefined_lines

if TYPE_CHECKING:
    from tailrace.lake.tables import Lake

Json = dict[str, Any]

UNCHANGED = "unchanged"
NEW = "new"
UNPUSHED = "not in the store"
LANE = "lane changed"
FEATURES = "features changed"
DEFINITION = "definition changed"
ONLINE = "online_when changed"
FIELDS = "fields changed"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a home has of a view: gold's state, the control item, and the fingerprint that the stream noted.

    `count_online` counts the rows of gold that are online by the definition of today, None where gold cannot say, and
    `value_bytes` is the mean size of the values that were pushed. `has_new_columns` says that the next refresh adds a column to
    a table that the view reads, over which the table's change feed does not go on.
    """

    state: State | None = None
    control: Control | None = None
    streamed: str | None = None
    count_online: Callable[[], int | None] = lambda: None
    value_bytes: float | None = None
    has_new_columns: bool = False


def diff_definitions(workspace: Resources, *, price: float | None = None) -> Json:
    """By view and by source what changed, and what the next refresh computes and pushes for it; `price` as in the plan."""
    definitions, lake = workspace.definitions, workspace.lake
    price = PRICE if price is None else price
    kept_views = definitions.kept_views
    controls = controls_of(workspace.store, kept_views)
    streamed = remembered_views(checkpoint_of(workspace.settings.home))
    sizes = value_bytes_of(lake)
    readings = {one.feed.name: one.fingerprint for one in definitions.table_feeds}
    every = definitions.sources_and_derived
    sources = {one.name: source_change(lake, one, reading=readings.get(one.name)) for one in every}
    grown = {one.silver_table.name for one in every if sources[one.name]["added"]}
    views = {}
    for name, view in kept_views.items():
        kept = Kept(
            state=lake.state(view.table) if isinstance(view, BatchView) else None,
            control=controls.get(name),
            streamed=streamed.get(name),
            count_online=partial(online_rows, lake, view) if isinstance(view, BatchView) else Kept.count_online,
            value_bytes=sizes.get(name),
            has_new_columns=not grown.isdisjoint(view.inputs),
        )
        views[name] = change_of(view, kept, definitions, price=price)
    return {
        "views": views,
        "sources": sources,
        "undefined": found_in_everything(workspace, streamed),
        "price_per_million": price,
    }


def controls_of(address: Address, views: Iterable[str]) -> Mapping[str, Control]:
    """The control items of views; none in a store that has nothing yet."""
    try:
        return with_store(address, lambda store: store.read_controls(list(views)))
    except StoreError as error:
        if error.is_missing:
            return {}
        raise


def value_bytes_of(lake: "Lake") -> dict[str, float]:
    """By view, the mean size of the values that pushes wrote."""
    if not lake.exists(RUNS):
        return {}
    wrote = lake.read(RUNS).where(F.isnull("failure") & (F.col("pushed") > 0)).groupBy("view")
    return {row.view: row.size for row in wrote.agg((F.sum("bytes") / F.sum("pushed")).alias("size")).collect()}


def online_rows(lake: "Lake", view: BatchView) -> int | None:
    """How many rows of gold are online by `online_when`; None for a condition on features that gold does not have yet."""
    try:
        return lake.read(view.table).where(is_online(view)).count()
    except AnalysisException:
        return None


def change_of(view: FeatureView, kept: Kept, definitions: Definitions, *, price: float) -> Json:
    """How a view changed, the rows that are computed in full for it, what is pushed, and the command that it needs."""
    owner = None if kept.control is None else owner_of(kept.control)
    # One that nobody declared is rebuilt with those that are counted by it.
    named = [view.name] if view.name in definitions.views else definitions.stream_views
    command = f"tailrace rebuild {' '.join(named)}"
    if owner not in {None, view.lane}:
        return shown(view, LANE, nothing(), command=command) | {"lane_before": owner}
    if isinstance(view, BatchView):
        return batch_change(view, kept, definitions, price=price)
    if kept.control is None:
        return shown(view, NEW, nothing())
    if stored_schema(view.features) not in known_schemas(kept.control):
        change = FEATURES
    elif kept.streamed is None or definitions.is_of(kept.streamed, view):
        change = UNCHANGED
    else:
        change = DEFINITION
    must_rebuild = change != UNCHANGED and not view.takes_writes
    return shown(view, change, nothing(), command=command if must_rebuild else None)


def batch_change(view: BatchView, kept: Kept, definitions: Definitions, *, price: float) -> Json:
    """A view of gold: computed in full where its definition is another, pushed whole where its features are."""
    state, control = kept.state, kept.control
    if state is None:
        return shown(view, NEW, pushed(view, kept, rows=None, price=price), full=True, rows=None)
    is_same = definitions.is_of(state.values.get("definition"), view)
    if control is None or control.cursor is None:
        change = UNPUSHED
    elif stored_schema(control.features) != stored_schema(view.features):
        change = FEATURES
    elif not is_same:
        change = DEFINITION
    else:
        change = UNCHANGED if control.cursor.fingerprint == view.publication_fingerprint else ONLINE
    full = not is_same or kept.has_new_columns
    if change == UNCHANGED:
        return shown(view, change, nothing(), full=full, rows=state.rows)
    online = kept.count_online() if change in {UNPUSHED, FEATURES} else None
    push = pushed(view, kept, rows=state.rows if online is None else online, at_most=online is None, price=price)
    return shown(view, change, push, full=full, rows=state.rows)


def pushed(view: BatchView, kept: Kept, *, rows: int | None, at_most: bool = False, price: float) -> Json:
    """Rows of a push and their cost; a write is charged by its whole item, so units and dollars are lower bounds."""
    size = kept.value_bytes
    if size and kept.control and kept.control.features:
        size *= len(view.features) / len(kept.control.features)
    units = None if rows is None else rows * math.ceil((size or 1) / UNIT_BYTES)
    return {
        "rows": rows,
        "at_most": at_most,
        "bytes": None if rows is None or size is None else round(rows * size),
        "write_units": units,
        "dollars": None if units is None else round(units * price / 1e6, 6),
    }


def nothing() -> Json:
    """No row that is pushed because a definition changed."""
    return {"rows": 0, "at_most": False, "bytes": 0, "write_units": 0, "dollars": 0.0}


def shown(
    view: FeatureView, change: str, push: Json, *, full: bool = False, rows: int | None = 0, command: str | None = None
) -> Json:
    """A view as the command shows it."""
    computes = {"full": full, "rows": rows if full else 0}
    return {"lane": view.lane, "change": change, "computes": computes, "pushes": push, "command": command}


def source_change(lake: "Lake", source: Source, *, reading: str | None) -> Json:
    """How a source changed; where the function of a derived one did, or the rules by which a table is read, all of its rows
    are made anew.
    """
    found = fields_changed(lake, source.silver_table)
    by = source.fingerprint if isinstance(source, DerivedSource) else reading
    if by is not None and found["change"] == UNCHANGED:
        state = lake.state(source.silver_table)
        if state is None or state.values.get("definition") != by:
            return found | {"change": DEFINITION}
    return found


def fields_changed(lake: "Lake", table: Table) -> Json:
    """The fields of a source that its silver table does not have yet, has besides, or has of another type."""
    none: list[str] = []
    if not lake.exists(table):
        return {"change": NEW, "added": none, "removed": none, "retyped": none}
    there = {field.name: field.dataType.simpleString() for field in lake.read(table).schema}
    declared = {column.name: column.type.info.sql for column in table.fields}
    found = {
        "added": [name for name in declared if name not in there],
        "removed": [name for name in there if name not in declared],
        "retyped": [name for name in declared if there.get(name, declared[name]) != declared[name]],
    }
    return {"change": FIELDS if any(found.values()) else UNCHANGED, **found}


def change_lines(diff: Json) -> Iterator[str]:
    """What changed besides views, and what all of it costs, a line each."""
    for name, source in diff["sources"].items():
        parts = [f"{kind} {', '.join(source[kind])}" for kind in ("added", "removed", "retyped") if source[kind]]
        if source["change"] != UNCHANGED:
            yield f"Source {name}: {'; '.join(parts) or source['change']}."
    for name, view in diff["views"].items():
        if view["command"]:
            yield f"View {name}: {view['change']}; run `{view['command']}` once jobs, stream and readers have the definitions."
    yield from undefined_lines(diff["undefined"])
    views = diff["views"].values()
    full = [view["computes"]["rows"] for view in views if view["computes"]["full"]]
    rows, units, dollars = (
        sum(view["pushes"][name] or 0 for view in views) for name in ("rows", "write_units", "dollars")
    )
    if not full and not rows:
        yield "A refresh computes and pushes nothing because of definitions."
        return
    unknown = " and those of new views" if None in full else ""
    yield (
        f"A refresh computes {sum(count or 0 for count in full):,} rows in full{unknown}, and pushes up to {rows:,} for it: "
        f"{units:,} write units, ${dollars:,.6f}{unknown and ', and what new views have'}."
    )
