"""What gold should have, in plain Python: the oracle that refreshes of random histories are compared with.

`figures_of` has one small function for each aggregation. A new aggregation registers its own: from the events that count in
one row of a view (`Group`), it returns each of its features by name.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import singledispatch
from typing import Any

from tailrace.definitions import BatchView, Count, Distinct, First, Last, NewestIs, Sum, Window
from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.batch_view import INTERACTIONS
from tailrace.definitions.derived_source import Events

Row = Mapping[str, Any]
Key = tuple[Any, ...]
Rows = dict[Key, dict[str, Any]]  # of a view, by key
Conditions = Mapping[str | None, Callable[[Row], bool]]  # what each `where` means; a null is not met

SIX_DECIMALS = Decimal("0.000001")
TOO_LARGE = Decimal(10) ** 18


@dataclass(frozen=True, kw_only=True)
class Group:
    """What one row of a view is made of: the events that count in it, and the rows of base views below its key."""

    source: Events
    as_of: datetime
    events: Sequence[Row]
    base_rows: Mapping[str, Sequence[Row]]

    def of_types(self, types: Sequence[str]) -> list[Row]:
        """The events of some types, or of any where none is named."""
        return [row for row in self.events if not types or row[self.source.type or ""] in types]

    def within(self, window: Window, *, types: Sequence[str] = ()) -> list[Row]:
        """The events in a window, which begins after its first moment and ends with the as-of."""
        return [row for row in self.of_types(types) if window.length is None or self.age(row) < window.length]

    def age(self, row: Row) -> Any:
        """How long before the as-of an event happened."""
        return self.as_of - self.time(row)

    def time(self, row: Row) -> datetime:
        """When an event happened."""
        happened: datetime = row[self.source.words.time]
        return happened


@singledispatch
def figures_of(line: Aggregation, group: Group) -> dict[str, Any]:
    """The features of one line of a view, by name."""
    raise NotImplementedError(f"{type(line).__name__}: register a function for it in {__name__}, beside the others")


@figures_of.register
def counted(line: Count, group: Group) -> dict[str, Any]:
    return {f"{line.name}_{window.name}": len(group.within(window, types=line.types)) for window in line.windows}


@figures_of.register
def summed(line: Sum, group: Group) -> dict[str, Any]:
    def total(rows: Iterable[Row]) -> float:
        return float(sum(number_in(row, line.of, group.source) for row in rows))

    return {f"{line.name}_{window.name}": total(group.within(window, types=line.types)) for window in line.windows}


@figures_of.register
def distinct(line: Distinct, group: Group) -> dict[str, Any]:
    rows = group.base_rows[line.rows_of]
    return {
        f"{line.name}_{window.name}": sum(row[f"{line.active}_{window.name}"] > 0 for row in rows)
        for window in line.windows
    }


@figures_of.register
def first(line: First, group: Group) -> dict[str, Any]:
    return {line.name: min(map(group.time, group.of_types(line.types)), default=None)}


@figures_of.register
def last(line: Last, group: Group) -> dict[str, Any]:
    return {line.name: max(map(group.time, group.of_types(line.types)), default=None)}


@figures_of.register
def newest_is(line: NewestIs, group: Group) -> dict[str, Any]:
    [id_] = group.source.key_columns
    newest = max(group.events, key=lambda row: (group.time(row), row[id_]))
    return {line.name: newest[group.source.type or ""] == line.type}


def number_in(row: Row, name: str, source: Events) -> Decimal:
    """A number of an event, or in its attributes, rounded to six decimals; 0 for none, and for one that is too large."""
    if source.words.type_of(name) is not None:
        number = None if row[name] is None else Decimal(repr(row[name]))
    else:
        attributes = json.loads(row[source.attributes or ""] or "{}", parse_float=Decimal, parse_int=Decimal)
        number = attributes.get(name)
    return Decimal(0) if number is None or abs(number) >= TOO_LARGE else number.quantize(SIX_DECIMALS, ROUND_HALF_UP)


def expected_rows(
    views: Iterable[BatchView], events: Mapping[str, Iterable[Row]], *, as_of: datetime, conditions: Conditions
) -> dict[str, Rows]:
    """The rows of each view, which stands behind its base views, from the events of each source by its name."""
    found: dict[str, Rows] = {}
    for view in views:
        found[view.name] = rows_of_view(view, events[view.event_source.name], found, as_of=as_of, conditions=conditions)
    return found


def rows_of_view(
    view: BatchView, events: Iterable[Row], known: Mapping[str, Rows], *, as_of: datetime, conditions: Conditions
) -> Rows:
    """The rows of one view; `known` has those of its base views."""
    groups = grouped(view, (row for row in events if row[view.event_source.words.time] <= as_of), conditions)
    below = {name: rows_below(view, known[name].values()) for name in view.base_views}
    rows: Rows = {}
    for key, counting in groups.items():
        of_key = {name: rows.get(key, []) for name, rows in below.items()}
        group = Group(source=view.event_source, as_of=as_of, events=counting, base_rows=of_key)
        rows[key] = dict(zip(view.keys, key, strict=True)) | {INTERACTIONS.name: len(counting)}
        for line in view.aggregations:
            rows[key] |= figures_of(line, group)
    return rows


def grouped(view: BatchView, events: Iterable[Row], conditions: Conditions) -> dict[Key, list[Row]]:
    """The events that meet a view's condition and have its keys, by key."""
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in filter(conditions[view.where], events):
        key = tuple(row[entity.column] for entity in view.entities)
        if all(value not in {None, ""} for value in key):
            groups[key].append(row)
    return groups


def rows_below(view: BatchView, rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """Rows of a base view by the key of a view that counts them."""
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[tuple(row[key] for key in view.keys)].append(row)
    return found


def as_json(row: Row, columns: Iterable[str]) -> dict[str, Any]:
    """Some columns of a row as they are read back from JSON, nulls left out."""
    return {name: json_value(row[name]) for name in columns if row[name] is not None}


def json_value(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value.isoformat() if isinstance(value, date) else value
