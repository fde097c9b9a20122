"""Values that views would have had at past times, computed into their history; gold and the store are not touched."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.gold.compute import compute
from jobs.streaming.event_rows import EventRows
from jobs.streaming.fast_path import settled_states
from jobs.streaming.recount import counting, had_by, states, tasks_for
from sinks.history import Schema, closing_rows, ensure_recorded, history_rows
from sinks.net_changes import decided, materialized_decisions, snapshot
from sinks.protocol import SUPPRESS
from tailrace.definitions import Definitions, FeatureView
from tailrace.errors import UsageError
from tailrace.lake.delta_log import Pin
from tailrace.lake.session import ROWS, materialized, small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas import view_tables
from tailrace.schemas.slots import from_micros, to_micros, to_text

Progress = Callable[[str], None]


class BackfillError(UsageError):
    """A backfill that cannot be done or gone on with; the message names the view or the id, and what to do."""


@dataclass(kw_only=True)
class Backfilled:
    """One view: the times computed and those done before, the rows recorded, how many of them removals, and the seconds."""

    times: int = 0
    done_before: int = 0
    recorded: int = 0
    removed: int = 0
    seconds: float = 0.0


def views_to_backfill(definitions: Definitions, named: Sequence[str]) -> dict[str, FeatureView]:
    """The views that have past values: all of them, or those that are named."""
    for name in named:
        if why := definitions.view(name).why_no_past:
            raise BackfillError(f"view {name} has no past values: {why}")
    views = definitions.batch_views | definitions.stream_views
    return {name: view for name, view in views.items() if not view.why_no_past and (name in named or not named)}


def run(
    lake: Lake,
    definitions: Definitions,
    views: Mapping[str, FeatureView],
    times: Sequence[datetime],
    *,
    id_: str,
    progress: Progress,
    kafka: bool = False,
) -> dict[str, Backfilled]:
    """Compute views at each time, and record what changed from one to the next; all of it at the first.

    A view of the lane stream is recorded at the first time, and then at every moment at which an event changed it:
    one of `kafka`, or of what landed.

    A backfill that was killed goes on under its `id_`; one that runs twice at once records everything once. Raises
    `BackfillError` where the id is that of another backfill.
    """
    pins = {table.full_name: lake.pin(table) for table in definitions.silver_tables.values()}
    left = {name: times_left(lake, definitions, view, times, id_=id_) for name, view in views.items()}
    figures = {name: Backfilled(done_before=len(times) - len(left[name])) for name in views}
    streamed = [name for name in views if name in definitions.stream_views and left[name]]
    if streamed:
        progress(f"{', '.join(streamed)} from {to_text(times[0])}")
        record_stream(
            lake, definitions, {name: left[name] for name in streamed}, times, id_=id_, kafka=kafka, figures=figures
        )
    for as_of in times:
        due = [name for name in views if as_of in left[name] and name not in streamed]
        if not due:
            continue
        with computed(lake, definitions.only(due), pins, as_of) as frames:
            for name in due:
                progress(f"{name} at {to_text(as_of)}")
                record(lake, definitions, views[name], frames[name], as_of=as_of, id_=id_, figures=figures[name])
    return figures


def names_of(definitions: Definitions, view: FeatureView, *, id_: str) -> tuple[str, str]:
    """Names that a backfill's commits are numbered under, by this version and the one before; each definition has its own."""
    name = f"{view_tables.history_table(view.name).full_name} backfill {id_}"
    return f"{name} {definitions.fingerprint(view)}", f"{name} {definitions.former_fingerprint(view)}"


def times_left(
    lake: Lake, definitions: Definitions, view: FeatureView, times: Sequence[datetime], *, id_: str
) -> list[datetime]:
    """The times of a view that a backfill has not recorded yet."""
    recorded = closed_times(lake, view, id_=id_)  # first: the same backfill may run at the same time
    numbers = lake.numbers_reached(view_tables.history_table(view.name))
    known = [numbers[name] for name in names_of(definitions, view, id_=id_) if name in numbers]
    reached = max(known, default=None)
    if recorded != list(times[: len(recorded)]) or (recorded and reached is None):
        raise BackfillError(
            f"view {view.name}: backfill {id_!r} has recorded other times, or those of another definition; "
            "give the same ones to go on with it, or another id"
        )
    return [as_of for as_of in times if reached is None or to_micros(as_of) > reached]


def closed_times(lake: Lake, view: FeatureView, *, id_: str) -> list[datetime]:
    """The times that a backfill has closed, in order."""
    rows = of_backfill(lake, view, id_=id_)
    if rows is None:
        return []
    micros = rows.where("item_key IS NULL").select(F.unix_micros("as_of").alias("micros")).collect()
    return sorted(from_micros(row.micros) for row in micros)


def of_backfill(lake: Lake, view: FeatureView, *, id_: str) -> DataFrame | None:
    """What a backfill has recorded of a view; None where the history has not seen any."""
    table = view_tables.history_table(view.name)
    if not lake.exists(table):
        return None
    rows = lake.read(table)
    return rows.where(F.col("backfill") == id_) if "backfill" in rows.columns else None


@contextmanager
def computed(
    lake: Lake, definitions: Definitions, pins: Mapping[str, Pin], as_of: datetime
) -> Iterator[dict[str, DataFrame]]:
    """Every view in full at a time; those that others count rows of are computed once."""
    with ExitStack() as kept:
        frames: dict[str, DataFrame] = {}
        counted = {name for view in definitions.views.values() for name in view.base_views}
        for name, view in definitions.batch_views.items():
            rows = compute(lake, definitions, view, pins, as_of=as_of, base_rows=frames)
            frames[name] = kept.enter_context(materialized(rows)).frame if name in counted else rows
        yield frames


def record(
    lake: Lake,
    definitions: Definitions,
    view: FeatureView,
    rows: DataFrame,
    *,
    as_of: datetime,
    id_: str,
    figures: Backfilled,
) -> None:
    """Commit what differs from what this backfill recorded before, with the row that closes the time."""
    began = time.monotonic()
    before = recorded_before(lake, view, as_of=as_of, id_=id_)
    changes = decided(snapshot(rows, before, view), view, suppress=True, as_of=to_micros(as_of))
    with materialized_decisions(changes) as found:
        values = found.frame.where(F.col("action") != SUPPRESS).select("item_key", "value", F.lit(as_of).alias("as_of"))
        append(lake, definitions, view, values, [as_of], id_=id_)
    figures.times += 1
    figures.recorded += found.counts[ROWS] - found.counts["suppressed"]
    figures.removed += found.counts["removals"]
    figures.seconds += time.monotonic() - began


def record_stream(
    lake: Lake,
    definitions: Definitions,
    due: Mapping[str, list[datetime]],
    times: Sequence[datetime],
    *,
    id_: str,
    kafka: bool,
    figures: Mapping[str, Backfilled],
) -> None:
    """Commit, for each view at once, its values at the first time and every change up to the last; `due` is what is
    left of the times of each.
    """
    began = time.monotonic()
    rows, since, until = EventRows.of(definitions), to_micros(times[0]), to_micros(times[-1])
    events = counting(had_by(lake, rows, kafka=kafka, until=until), rows, since=since, until=until)
    new = {name: is_new(name, times[: len(times) - len(left)]) for name, left in due.items()}
    totals = {name: condition.cast("int") for name, condition in new.items()}
    finish = partial(settled_states, ids=False)
    with materialized(
        states(events, rows.views, tasks=tasks_for(lake, rows.feed), finish=finish), totals=totals
    ) as found:
        for name, left in due.items():
            moment = F.timestamp_micros("moment").alias("as_of")
            values = found.frame.where(new[name]).select("item_key", "value", moment)
            append(lake, definitions, definitions.views[name], values, left, id_=id_)
            figures[name].times += len(left)
            figures[name].recorded += found.counts[name]
            figures[name].seconds += time.monotonic() - began  # they are counted together


def is_new(view: str, done: Sequence[datetime]) -> Column:
    """Which states are of a view, and later than the times that were recorded before."""
    of_view = F.col("view") == view
    return of_view & (F.col("moment") > to_micros(done[-1])) if done else of_view


def append(
    lake: Lake,
    definitions: Definitions,
    view: FeatureView,
    values: DataFrame,
    times: Sequence[datetime],
    *,
    id_: str,
) -> None:
    """Commit values, as `item_key, value, as_of`, with the rows that close the times."""
    definition = definitions.fingerprint(view)
    schema = Schema(view=view.name, features=view.features, definition=definition, backfill=id_)
    ensure_recorded(lake, schema, first_sequence=lambda: view_tables.NO_PUSH)
    lake.append_numbered(
        view_tables.history_table(view.name),
        to_history(lake, values, times, id_=id_),
        name=names_of(definitions, view, id_=id_)[0],
        number=to_micros(times[-1]),
    )


def recorded_before(lake: Lake, view: FeatureView, *, as_of: datetime, id_: str) -> DataFrame:
    """The newest value of each key that a backfill recorded before a time, as `item_key, value`."""
    rows = of_backfill(lake, view, id_=id_)
    if rows is None:
        return small_frame(lake.spark, [], "item_key string, value binary")
    earlier = rows.where(F.col("item_key").isNotNull() & (F.col("as_of") < F.lit(as_of)))
    newest = earlier.groupBy("item_key").agg(F.max_by("value", "as_of").alias("value"))
    return newest.where("value IS NOT NULL")


def to_history(lake: Lake, values: DataFrame, times: Sequence[datetime], *, id_: str) -> DataFrame:
    """Values as rows of the view's history, with the row that closes each time."""
    rows = history_rows(
        values,
        sequence=F.lit(view_tables.NO_PUSH),
        as_of=F.col("as_of"),
        recorded_at=F.lit(datetime.now(UTC)),
        backfill=id_,
    )
    return rows.unionByName(closing_rows(lake, times, sequence=view_tables.NO_PUSH, backfill=id_))
