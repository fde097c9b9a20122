"""What a project may add from outside: a type and an aggregation of its own, in a module beside its definitions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.aggregations.gold_column import GoldColumn, settled
from tailrace.definitions.aggregations.sql import GAINED
from tailrace.schemas.tables import Column, Type
from tailrace.schemas.types import Packed, TypeInfo

SMALL = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
INT32 = Type.add(
    "INT32",
    TypeInfo(
        sql="int",
        packed=Packed(
            in_row="<i4",
            numpy="i4",
            arrow="int32",
            spark="IntegerType",
            json=SMALL,
            english="a whole number of 32 bits",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Largest(Aggregation):
    """The largest of the whole numbers that an attribute of the interactions holds; null where there is none."""

    of: str
    type: Type = INT32

    @property
    def features(self) -> tuple[Column, ...]:
        return (Column(self.name, self.type, f"largest {self.of}"),)

    @property
    def columns(self) -> tuple[GoldColumn, ...]:
        number = f"try_cast(get_json_object(attributes, '$.{self.of}') AS {self.type})"
        return (
            settled(
                self.name,
                full=f"max({number})",
                candidate=f"max(CASE WHEN {GAINED} > 0 THEN {number} END)",
                better=f"greatest(old.{self.name}, new.{self.name})",
            ),
        )

    def promises(self, lines: Sequence[Aggregation]) -> Iterator[str]:  # noqa: ARG002
        """Pages are counted from 1."""
        yield f"{self.name} > 0"
