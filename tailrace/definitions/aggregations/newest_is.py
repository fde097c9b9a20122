"""NewestIs: of which type the newest interaction is."""

from dataclasses import dataclass

from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.aggregations.gold_column import GoldColumn, settled
from tailrace.definitions.aggregations.sql import GAINED, quoted
from tailrace.schemas.tables import Column, Type

INTERACTION = "struct(occurred_at, event_id, event_type)"  # an id has one type: it never decides


@dataclass(frozen=True, kw_only=True)
class NewestIs(Aggregation):
    """Whether the newest interaction, ties settled by event id, is of the given type.

    It is of all time: `over` changes nothing.
    """

    type: str

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, Type.BOOL, f"whether the newest event is a {self.type}"),)

    @property
    def state(self) -> tuple[Column, ...]:
        at = Column(f"_{self.name}_at", Type.TIMESTAMP, "when the newest event was")
        return (at, Column(f"_{self.name}_by", Type.STRING, "its event id"))

    @property
    def columns(self) -> tuple[GoldColumn, ...]:
        at, by = (column.name for column in self.state)
        newest, gained = f"max({INTERACTION})", f"max(CASE WHEN {GAINED} > 0 THEN {INTERACTION} END)"
        newer = f"struct(new.{at}, new.{by}) > struct(old.{at}, old.{by})"
        parts = {at: ".occurred_at", by: ".event_id", self.name: f".event_type = {quoted(self.type)}"}
        return tuple(
            settled(
                name,
                full=f"{newest}{part}",
                candidate=f"{gained}{part}",
                better=f"IF({newer}, new.{name}, old.{name})",
            )
            for name, part in parts.items()
        )
