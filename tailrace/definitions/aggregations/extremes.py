"""The best of the events in a window: Min and Max of a value, and the value of the first and of the last event."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation, features_over
from tailrace.definitions.aggregations.gold_column import Extreme, GoldColumn, settled_in_window
from tailrace.definitions.aggregations.number import NUMBER, value_in
from tailrace.definitions.aggregations.sql import LEAVING, is_of, quoted, weight, within
from tailrace.definitions.names import Window, check_name, spelled
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns
    from tailrace.definitions.view import FeatureView

LARGEST_DOUBLE = "1.7976931348623157E308D"
COMPARED = frozenset([Type.INT64, Type.FLOAT64, Type.TIMESTAMP])


@dataclass(frozen=True)
class Side:
    """Which of several is the best: how SQL aggregates rows, and chooses and compares two."""

    of_rows: str
    of_two: str
    as_good: str


LEAST, GREATEST = Side("min", "least", "<="), Side("max", "greatest", ">=")


@dataclass(frozen=True, kw_only=True)
class OfValue(Aggregation):
    """What `Min`, `Max`, `FirstValue` and `LastValue` have in common: a value `of` the events that count."""

    takes_where: ClassVar[bool] = True
    side: ClassVar[Side]
    meaning: ClassVar[str]

    of: str
    types: tuple[str, ...] = ()

    def features_in(self, events: "EventColumns") -> tuple[Column, ...]:
        of_type = events.type_of(self.of) or Type.FLOAT64
        return features_over(self.name, self.over, f"{self.meaning} {self.of}", type=of_type)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        value = plain_value(self.of, events)
        counts = f"{is_of(self.types, events, where=self.where)} AND {value} IS NOT NULL"
        features = zip(self.features_in(events), self.windows, strict=True)
        return tuple(
            column
            for feature, window in features
            for column in self.columns_of(feature.name, window, counts=counts, value=value, time=events.time)
        )

    def columns_of(self, name: str, window: Window, *, counts: str, value: str, time: str) -> Iterator[GoldColumn]:
        """The columns of one window."""
        raise NotImplementedError(f"{type(self).__name__} lacks its part 'columns_of'")

    def check(self, view: "FeatureView", views: "Mapping[str, FeatureView]", *, here: str) -> None:  # noqa: ARG002
        """The value is a field of the source, or a number in its attributes."""
        here = f"{here}, field 'of'"
        check_name(self.of, of=here)
        source = view.event_source
        found = source.words.type_of(self.of)
        if found is None and not source.attributes:
            raise DefinitionError(
                f"{here}: {self.of!r} is not a field of the source {source.name!r}, and it has no attributes"
            )
        self.check_type(found or Type.FLOAT64, here=here)

    def check_type(self, found: Type, *, here: str) -> None:
        """Raise `DefinitionError` for a value of a type that it cannot be of."""


@dataclass(frozen=True, kw_only=True)
class Max(OfValue):
    """The largest value, of events of the given types or of any that meet `where`; null where there is none.

    `of` is a field of the source of type INT64, FLOAT64 or TIMESTAMP, or a number in its `attributes`. What is not finite does
    not count.
    """

    side: ClassVar[Side] = GREATEST
    meaning: ClassVar[str] = "largest"

    def columns_of(self, name: str, window: Window, *, counts: str, value: str, time: str) -> Iterator[GoldColumn]:  # noqa: ARG002
        yield extreme_column(name, window, self.side, counts=counts, value=value)

    def check_type(self, found: Type, *, here: str) -> None:
        if found not in COMPARED:
            raise DefinitionError(
                f"{here}: {self.of!r} is of {spelled(found)}; name one of {spelled(*sorted(COMPARED))}"
            )


@dataclass(frozen=True, kw_only=True)
class Min(Max):
    """The smallest value, as `Max` has the largest."""

    side: ClassVar[Side] = LEAST
    meaning: ClassVar[str] = "smallest"


@dataclass(frozen=True, kw_only=True)
class LastValue(OfValue):
    """The value of the last event that has one, of the given types or of any that meet `where`; null where there is none.

    Of events at the same microsecond the largest value counts. `of` is a field of the source, or a number in its `attributes`.
    """

    side: ClassVar[Side] = GREATEST
    meaning: ClassVar[str] = "last"

    @property
    def state(self) -> tuple[Column, ...]:
        return tuple(Column(self._at(f"{self.name}_{window}"), Type.TIMESTAMP, "when it was") for window in self.over)

    def _at(self, name: str) -> str:
        return f"_{name}_at"

    def columns_of(self, name: str, window: Window, *, counts: str, value: str, time: str) -> Iterator[GoldColumn]:
        at, side = self._at(name), self.side
        event = f"named_struct('at', {time}, 'value', {value})"
        old, new = (
            f"IF({row}.{at} IS NULL, NULL, named_struct('at', {row}.{at}, 'value', {row}.{name}))"
            for row in ("old", "new")
        )
        best = f"{side.of_two}({old}, {new})"
        extreme = extreme_of(name, window, side, counts=counts, value=event, best=best)
        for column, part in ((at, "at"), (name, "value")):
            yield settled_in_window(
                column,
                full=f"{side.of_rows}(CASE WHEN {counts} AND {within(window)} THEN {event} END).{part}",
                candidate=f"{side.of_rows}(CASE WHEN {counts} AND {weight(window)} > 0 THEN {event} END).{part}",
                better=f"{best}.{part}",
                extreme=extreme,
            )


@dataclass(frozen=True, kw_only=True)
class FirstValue(LastValue):
    """The value of the first event that has one, as `LastValue` has the last; of events at the same microsecond the smallest."""

    side: ClassVar[Side] = LEAST
    meaning: ClassVar[str] = "first"


def extreme_column(name: str, window: Window, side: Side, *, counts: str, value: str) -> GoldColumn:
    """A column with the best value of the events in a window."""
    best = f"{side.of_two}(old.{name}, new.{name})"
    return settled_in_window(
        name,
        full=f"{side.of_rows}(CASE WHEN {counts} AND {within(window)} THEN {value} END)",
        candidate=f"{side.of_rows}(CASE WHEN {counts} AND {weight(window)} > 0 THEN {value} END)",
        better=best,
        extreme=extreme_of(name, window, side, counts=counts, value=value, best=best),
    )


def extreme_of(name: str, window: Window, side: Side, *, counts: str, value: str, best: str) -> Extreme:
    """What is lost when a value leaves that is as good as the best of old and new.

    An event that comes late and is past the window already comes and leaves: what it brings is lost again.
    """
    return Extreme(
        name=name,
        window=window,
        leaving=f"{side.of_rows}(CASE WHEN {counts} AND {weight(window)} < 0 THEN {value} END)",
        as_good=f"coalesce(new.{LEAVING}{name} {side.as_good} {best}, TRUE)",
    )


def plain_value(name: str, events: "EventColumns") -> str:
    """A value as each refresh has it alike: of doubles only the finite, and one zero."""
    value, of_type = value_in(name, events), events.type_of(name)
    if of_type is None:
        value = f"CASE WHEN {value} RLIKE {quoted(NUMBER)} THEN try_cast({value} AS double) END"
    if of_type in {None, Type.FLOAT64}:
        return f"CASE WHEN abs({value}) <= {LARGEST_DOUBLE} THEN {value} + 0.0D END"
    return value
