"""Views of the lane `stream`: recent windows, of which the store has counts by buckets of time, whatever the clock says.
The finest of them knows the events themselves, and all others are counted by it.

The newest bucket is first, and the minute of the newest event is kept with them. The value at a moment is the sum of the
buckets that are inside the window then: exact to one bucket at its far end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.declared_source import EventSource
from tailrace.definitions.derived_source import DerivedSource
from tailrace.definitions.names import Entity, Window
from tailrace.definitions.services import OnDemandFeature
from tailrace.definitions.view import STREAM, FeatureView
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column, Type

WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120)  # minutes of a bucket
MOST_BUCKETS = 15
# An event counts unless it is further than this ahead of the moment at which the topic had it: its clock is wrong then.
MINUTES_AHEAD = 5
MICROS_PER_MINUTE = 60_000_000
# Of the view by which all others are counted.
MOST_KEYS = 2
FINEST_PREFIX = "stream_of_"  # of the name of a finest view that nobody declares, before that of its source
LONGEST_NAME = 63

NEWEST = Column("_minute", Type.INT64, "minutes since 1970 of the newest event")
# By these a micro-batch that is repeated knows what it did already.
WRITTEN_BY = (
    Column("_run", Type.INT64, "the stream that wrote this, by its checkpoint"),
    Column("_batch", Type.INT64, "the last micro-batch in it"),
)
# What the finest view knows of the events of each of its keys; all other views are counted by it.
OF_EVENTS = (
    Column("_last_at", Type.INT64, "when the newest event was, in microseconds; 0 before the first"),
    Column("_before_at", Type.INT64, "the same before the last micro-batch"),
    Column("_added", Type.INT64, "how many of the last entries of _seen the last micro-batch added"),
    Column("_seen", Type.STRING, "the events of the last windows: digest of the id, and minute"),
)


@dataclass(frozen=True, kw_only=True)
class Ring:
    """Buckets of one line over one window: `width` in minutes, `counted` of them in the window, `slots` kept."""

    name: str
    line: int
    width: int
    counted: int

    @property
    def slots(self) -> int:
        """How many buckets are kept: those of the window, and those for events from ahead."""
        return self.counted + -(-MINUTES_AHEAD // self.width)

    @property
    def columns(self) -> tuple[Column, ...]:
        """A column for each bucket, the newest first."""
        return tuple(
            Column(f"_{self.name}_{age:02}", Type.INT64, f"{self.name}, {age} buckets of {self.width} min back")
            for age in range(self.slots)
        )

    def value_at(self, minute: Any, buckets: Sequence[Any], now: Any) -> Any:
        """The value at `now`, for numpy arrays of states."""
        present = now.astype("datetime64[m]").astype("int64") // self.width
        newest = minute // self.width
        total = 0 * minute
        for age, count in enumerate(buckets):
            back = present - (newest - age)
            total = total + count * ((back >= 0) & (back < self.counted))
        return total


def ring_of(line: int, name: str, window: Window) -> Ring:
    """The buckets of a window; raises `DefinitionError` for one that has none."""
    minutes = int(window.length.total_seconds() // 60) if window.length else 0
    for width in WIDTHS:
        if minutes and minutes % width == 0 and minutes // width <= MOST_BUCKETS:
            return Ring(name=f"{name}_{window.name}", line=line, width=width, counted=minutes // width)
    raise DefinitionError(
        f"feature {name!r}, field 'over': {window.name!r} is not a window of a stream; take one of up to 24h that is made "
        "of at most 15 equal parts, such as 15m, 1h, 6h or 24h"
    )


def rings_of(lines: Sequence[Aggregation]) -> tuple[Ring, ...]:
    """The buckets of each line over each of its windows."""
    return tuple(
        ring_of(number, line.name, window)
        for number, line in enumerate(lines)
        if line.stream
        for window in line.stream.windows
    )


@dataclass(frozen=True, kw_only=True)
class StreamView(FeatureView):
    """A view that the stream keeps from each event within seconds."""

    remembers_events: ClassVar[bool] = False  # of the last windows, by their ids

    lane: str = STREAM

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """What the store has of a key; names that begin with `_` are not for rankers."""
        plain = tuple(feature for line in self.aggregations if line.stream for feature in line.stream.features)
        counts = tuple(column for ring in rings_of(self.aggregations) for column in ring.columns)
        return (*plain, NEWEST, *counts, *WRITTEN_BY, *(OF_EVENTS if self.remembers_events else ()))

    @property
    def public_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.feature_names if not name.startswith("_"))

    @cached_property
    def event_source(self) -> EventSource:
        """The source whose events the stream follows; raises `DefinitionError` for one that only a refresh has."""
        found = super().event_source
        if isinstance(found, DerivedSource):
            raise DefinitionError(
                f"view {self.name!r}, field 'source': {found.name!r} is derived by a refresh, and a stream counts events "
                f"before that; aggregate {found.of.name!r}, or leave lane={STREAM!r} out"
            )
        if found.delta is not None:
            raise DefinitionError(
                f"view {self.name!r}, field 'source': {found.name!r} reads a table, of which a refresh finds the changes, and a "
                f"stream follows a folder or a topic; leave lane={STREAM!r} out"
            )
        return found

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.event_source.silver_table.name,)

    @cached_property
    def windows(self) -> Mapping[str, OnDemandFeature]:
        """The value of each count and window at the time of reading, by the name that a batch view would give it."""
        return {ring.name: self._value_of(ring) for ring in rings_of(self.aggregations)}

    def _value_of(self, ring: Ring) -> OnDemandFeature:
        def compute(minute: Any, *buckets: Any, now: Any) -> Any:
            return ring.value_at(minute, buckets, now)

        names = (NEWEST.name, *(column.name for column in ring.columns))
        return OnDemandFeature(
            name=ring.name,
            type=Type.INT64,
            inputs=tuple(f"{self.name}:{name}" for name in names),
            owner=self.owner,
            description=f"{self.aggregations[ring.line].name} of {self.name} in the window, exact to {ring.width} min.",
            compute=compute,
        )

    def check_fields(self) -> None:
        """A view of the stream declares aggregations that a stream keeps, over windows that have buckets."""
        here = f"view {self.name!r}"
        unfit = ("transform", "transform_features", "changed_keys", "online_when", "expectations")
        for name in self.given(unfit):
            raise DefinitionError(f"{here}, field {name!r}: does not go with lane={STREAM!r}")
        self.refuse_written_features()
        if not self.aggregations:
            raise DefinitionError(f"{here}: give 'aggregations'")
        for line in self.aggregations:
            self._check_stream_part(line)

    def _check_stream_part(self, line: Aggregation) -> None:
        here = f"view {self.name!r}"
        if line.where is not None and line.takes_where:
            raise DefinitionError(
                f"{here}, feature {line.name!r}, field 'where': the lane {STREAM} counts each event of a view or none of it; "
                "put this line into a view of its own, and give 'where' to that"
            )
        if line.stream is None:
            raise DefinitionError(
                f"{here}, feature {line.name!r}: the lane {STREAM} keeps Count, Distinct and Last without 'over', not "
                f"{type(line).__name__}; put it into a view of its own in the lane batch, or give a class of yours a part 'stream'"
            )
        if line.base_view and self.where is not None:
            raise DefinitionError(
                f"{here}, feature {line.name!r}: a stream counts rows of {line.base_view!r} by all events; leave 'where' out, "
                "or put the other aggregations into a view of their own with it"
            )
        for window in line.stream.windows:
            try:
                ring_of(0, line.name, window)
            except DefinitionError as error:
                raise DefinitionError(f"{here}, {error}") from error

    def check_base_view(self, base: FeatureView, *, of: str) -> None:
        """The stream counts rows of a view that it keeps from every event."""
        if not isinstance(base, StreamView):
            raise DefinitionError(f"{of}: {base.name!r} is not a view of the lane {STREAM}")
        if base.where is not None:
            raise DefinitionError(
                f"{of}: {base.name!r} has 'where', and a stream counts rows that stand for all events"
            )


@dataclass(frozen=True, kw_only=True)
class FinestView(StreamView):
    """A view of the stream whose items also have the ids of the last events of their keys."""

    remembers_events: ClassVar[bool] = True

    @property
    def is_declared(self) -> bool:
        """Whether somebody declared it; else it has no features, and nobody can ask for it."""
        return bool(self.aggregations)


def finest_view(views: Sequence[StreamView]) -> FinestView | None:
    """The view by which the views of a source are counted, keyed by all their keys; None where there are no views.

    It is the declared view that has all these keys and counts every event, or else one without features. Raises
    `DefinitionError` for more keys than an item can be kept of.
    """
    if not views:
        return None
    entities = entities_of(views)
    whole = [view for view in views if view.where is None and len(view.entities) == len(entities)]
    if whole:
        first = min(whole, key=lambda view: view.name)
        return FinestView(**{one.name: getattr(first, one.name) for one in fields(first)})
    return derived(views, entities)


def entities_of(views: Sequence[StreamView]) -> tuple[Entity, ...]:
    """An entity for each column of the source that is a key of a view; raises `DefinitionError` for too many.

    Each is called by its column: two columns may hold ids of one entity.
    """
    keys = {entity.column: entity.type for view in views for entity in view.entities}
    found = {column: Entity(column, column, type=type_) for column, type_ in sorted(keys.items())}
    if len(found) > MOST_KEYS:
        raise DefinitionError(
            f"the views of the lane stream over {views[0].event_source.name!r} ({', '.join(view.name for view in views)}) "
            f"have the keys {', '.join(found)} together, and a stream keeps an item for each combination of all keys that "
            f"occurs, to count every event once: nearly one for each event with more than {MOST_KEYS}. Leave views over "
            f"{MOST_KEYS} keys in the lane stream, and the others in the lane batch"
        )
    return tuple(found.values())


def derived(views: Sequence[StreamView], entities: tuple[Entity, ...]) -> FinestView:
    """The finest view of views of which none is it."""
    source = views[0].event_source
    name = f"{FINEST_PREFIX}{source.name}"
    if len(name) > LONGEST_NAME:
        raise DefinitionError(
            f"source {source.name!r}, field 'name': a stream follows it in {name!r}, which has more than {LONGEST_NAME} "
            "characters; shorten it"
        )
    return FinestView(
        name=name,
        entities=entities,
        source=views[0].source,
        owner=views[0].owner,
        description=f"The last events of {source.name} by {' and '.join(one.column for one in entities)}, which the stream counts by.",
        freshness=min(view.freshness for view in views),
    )
