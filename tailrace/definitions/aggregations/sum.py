"""Sum: a number of the events, added up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailrace.definitions.aggregations.aggregation import Aggregation, features_over
from tailrace.definitions.aggregations.gold_column import GoldColumn, added, follows
from tailrace.definitions.aggregations.sql import is_of, quoted, weight, within
from tailrace.definitions.names import check_name, spelled
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns
    from tailrace.definitions.view import FeatureView

# A number of any length; but not 1e-99999999, of which Java would write out every digit.
NUMBER = r"^[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]{1,2})?$"


@dataclass(frozen=True, kw_only=True)
class Sum(Aggregation):
    """The sum of a number, of events of the given types or of any; 0 where there is none.

    `of` is a field of the source, or a number in its `attributes`.

    A number counts rounded to six decimals; what is not a number, or 10^18 and more, counts as 0. The sum is kept as a
    decimal, exact in any order, and given as a double.
    """

    of: str
    types: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        return features_over(self.name, self.over, f"sum of {self.of}", type=Type.FLOAT64)

    @property
    def state(self) -> tuple[Column, ...]:
        return tuple(Column(f"_{feature.name}", Type.DECIMAL, f"exact {feature.name}") for feature in self.features)

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        return tuple(self._columns(events))

    def _columns(self, events: "EventColumns") -> Iterator[GoldColumn]:
        number, types = number_in(self.of, events), is_of(self.types, events)
        for (feature, window), state in zip(self.named_windows, self.state, strict=True):
            full = f"CAST(sum(CASE WHEN {types} AND {within(window)} THEN {number} ELSE 0 END) AS {state.type})"
            difference = f"CASE WHEN {types} THEN {weight(window)} * {number} END"
            exact = added(state.name, full=full, difference=difference, type=state.type)
            yield exact
            parts = (exact.full, exact.merged, exact.inserted)
            full, merged, inserted = (f"CAST({sql} AS {feature.type})" for sql in parts)
            yield follows(feature.name, full=full, merged=merged, inserted=inserted)

    def check(self, view: "FeatureView", views: "Mapping[str, FeatureView]", *, here: str) -> None:  # noqa: ARG002
        """The number is a field of the source, or named as fields are and looked up in its attributes."""
        check_name(self.of, of=f"{here}, field 'of'")
        source = view.event_source
        found = source.words.type_of(self.of)
        if found in {Type.INT64, Type.FLOAT64} or (found is None and source.attributes):
            return
        is_what = f"is of {spelled(found)}" if found else "is not among its fields, and it has no attributes"
        raise DefinitionError(f"{here}, field 'of': {self.of!r} of the source {source.name!r} {is_what}; name a number")


def number_in(name: str, events: "EventColumns") -> str:
    """A field of the source as a decimal, or the number that its attributes hold; 0 where an event has none."""
    if events.type_of(name) is not None:
        return f"coalesce(try_cast({name} AS decimal(24,6)), CAST(0 AS decimal(24,6)))"
    text = f"get_json_object({events.attributes}, {quoted(f'$.{name}')})"
    number = f"CASE WHEN {text} RLIKE {quoted(NUMBER)} THEN try_cast({text} AS decimal(24,6)) END"
    return f"coalesce({number}, CAST(0 AS decimal(24,6)))"
