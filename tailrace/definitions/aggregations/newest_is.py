"""NewestIs: of which type the newest event is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.aggregations.gold_column import GoldColumn, settled
from tailrace.definitions.aggregations.sql import GAINED, is_of, quoted
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns
    from tailrace.definitions.view import FeatureView


@dataclass(frozen=True, kw_only=True)
class NewestIs(Aggregation):
    """Whether the newest event that meets `where`, ties settled by its id, is of the given type.

    It is of all time: `over` changes nothing. The source needs a `type` and one `id` of STRING.
    """

    takes_where: ClassVar[bool] = True

    type: str

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.BOOL, f"whether the newest event is a {self.type}"),)

    @property
    def state(self) -> tuple[Column, ...]:
        at = Column(f"_{self.name}_at", Type.TIMESTAMP, "when the newest event was")
        return (at, Column(f"_{self.name}_by", Type.STRING, "its event id"))

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:
        at, by = (column.name for column in self.state)
        # An id has one type: it never decides.
        event = f"struct({events.time}, {', '.join(events.id)}, {events.type})"
        counts = is_of((), events, where=self.where)
        newest = f"max(CASE WHEN {counts} THEN {event} END)" if self.where else f"max({event})"
        gained = f"max(CASE WHEN {GAINED} > 0 AND {counts} THEN {event} END)"
        newer = f"struct(new.{at}, new.{by}) > struct(old.{at}, old.{by})"
        parts = {at: f".{events.time}", by: f".{events.id[0]}", self.name: f".{events.type} = {quoted(self.type)}"}
        return tuple(
            settled(
                name,
                full=f"{newest}{part}",
                candidate=f"{gained}{part}",
                better=f"IF({newer}, new.{name}, old.{name})",
            )
            for name, part in parts.items()
        )

    def check(self, view: "FeatureView", views: "Mapping[str, FeatureView]", *, here: str) -> None:  # noqa: ARG002
        """Events have a type, and one id, which is a text, settles ties."""
        source = view.event_source
        if source.type is None:
            raise DefinitionError(
                f"{here}: the source {source.name!r} does not say which field is the type of an event; give it type='…'"
            )
        if [source.words.type_of(name) for name in source.key_columns] != [Type.STRING]:
            raise DefinitionError(
                f"{here}: NewestIs settles ties by one id of type STRING; {source.name!r} has "
                f"{', '.join(source.key_columns)}. Compare two Last instead, one with types=({self.type!r},) and one without, in "
                "an on-demand feature"
            )
