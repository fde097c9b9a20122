"""Types: one row says how Spark, numpy, Arrow, JSON and the packed value spell each, by names.

`Type.add` makes one more, in a module that jobs, reader and whoever writes values import. A type of the table keeps its
row: the values in the store are packed by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Packed:
    """How numpy, Arrow, Spark, JSON and the store have values of a type.

    `in_row` is the fixed width of a value in a packed row, as numpy spells it; texts have where they end. `numpy` is the
    type of decoded columns, `arrow` an alias of pyarrow, `spark` a class of `pyspark.sql.types`. `json` is a JSON schema,
    and `english` what a refusal calls a right value.
    """

    in_row: str
    numpy: str
    arrow: str
    spark: str
    json: Mapping[str, Any]
    english: str


@dataclass(frozen=True, kw_only=True)
class TypeInfo:
    """One row of the table: the name in Spark SQL, and how features of the type are packed; or what to take instead."""

    sql: str
    packed: Packed | None = None
    instead: str = ""


class Type(str):
    """A column's type, spelled as Spark SQL spells it; `Type(text)` finds the one of that name, of which there is one.

    Features are of STRING, INT64, FLOAT64, BOOL or TIMESTAMP, fields of a source also of DATE, and ids of STRING, INT64 or
    DATE. Definitions import them from `tailrace`.
    """

    STRING: ClassVar["Type"]
    INT64: ClassVar["Type"]
    FLOAT64: ClassVar["Type"]
    BOOL: ClassVar["Type"]
    TIMESTAMP: ClassVar["Type"]
    DATE: ClassVar["Type"]
    BINARY: ClassVar["Type"]
    DECIMAL: ClassVar["Type"]

    _known: ClassVar[dict[str, "Type"]] = {}
    name: str
    info: TypeInfo

    def __new__(cls, text: str) -> "Type":
        if text not in cls._known:
            raise ValueError(f"{text!r} is not a type; there are {', '.join(cls._known)}")
        return cls._known[text]

    def __repr__(self) -> str:
        return f"<Type.{self.name}: {str.__repr__(self)}>"  # the fingerprints of 0.1 have it

    def __reduce__(self) -> tuple[type["Type"], tuple[str]]:
        return Type, (str(self),)

    @property
    def packed(self) -> Packed:
        """How features of the type are packed; raises `TypeError` for a type that features do not have."""
        if self.info.packed is None:
            raise TypeError(f"features are not of the type {self}; {self.info.instead}")
        return self.info.packed

    @classmethod
    def add(cls, name: str, info: TypeInfo) -> "Type":
        """Make a type known; a second time the same one, and `ValueError` where it says something else."""
        found = cls._known.get(info.sql)
        if found is not None:
            if (found.name, found.info) != (name, info):
                raise ValueError(f"type {name} is spelled {info.sql!r}, as {found.name} is already")
            return found
        added = str.__new__(cls, info.sql)
        added.name, added.info = name, info
        cls._known[info.sql] = added
        setattr(cls, name, added)
        return added


def feature_types() -> tuple[Type, ...]:
    """The types that features may have."""
    return tuple(type_ for type_ in Type._known.values() if type_.info.packed is not None)


INT64 = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
TIME = {"type": "string", "format": "date-time"}
TABLE = {
    "STRING": TypeInfo(
        sql="string",
        packed=Packed(
            in_row="<u4", numpy="O", arrow="string", spark="StringType", json={"type": "string"}, english="a text"
        ),
    ),
    "INT64": TypeInfo(
        sql="bigint",
        packed=Packed(in_row="<i8", numpy="i8", arrow="int64", spark="LongType", json=INT64, english="a whole number"),
    ),
    "FLOAT64": TypeInfo(
        sql="double",
        packed=Packed(
            in_row="<f8", numpy="f8", arrow="float64", spark="DoubleType", json={"type": "number"}, english="a number"
        ),
    ),
    "BOOL": TypeInfo(
        sql="boolean",
        packed=Packed(
            in_row="u1", numpy="?", arrow="bool", spark="BooleanType", json={"type": "boolean"}, english="true or false"
        ),
    ),
    # Microseconds since 1970 UTC.
    "TIMESTAMP": TypeInfo(
        sql="timestamp",
        packed=Packed(
            in_row="<i8",
            numpy="M8[us]",
            arrow="timestamp[us]",
            spark="TimestampType",
            json=TIME,
            english="a time such as 2026-03-02T10:15:00Z",
        ),
    ),
    # A key may be one.
    "DATE": TypeInfo(sql="date", instead="give it as STRING or TIMESTAMP"),
    # What a value is packed into.
    "BINARY": TypeInfo(sql="binary", instead="give it as STRING"),
    # Sums of decimals are exact in any order; only state is kept in it.
    "DECIMAL": TypeInfo(sql="decimal(38,6)", instead="give it as FLOAT64"),
}
for _name, _info in TABLE.items():
    Type.add(_name, _info)
