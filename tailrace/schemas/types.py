"""Types: one row says how Spark, numpy, Arrow, JSON and the packed value spell each, by names.

`Type.add` makes one more, in a module that jobs, reader and whoever writes values import. A type of the table keeps its
row: the values in the store are packed by it. `Vector(n)` and `List(…, at_most=n)` make types of many values each.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tailrace.errors import DefinitionError

LONGEST_VECTOR = 16_384  # 64 KiB
LONGEST_LIST = 10_000


@dataclass(frozen=True, kw_only=True)
class Packed:
    """How numpy, Arrow, Spark, JSON and the store have values of a type.

    `in_row` is the fixed width of a value in a packed row, as numpy spells it; texts and lists have where they end. `numpy`
    is the type of decoded columns, `arrow` an alias of pyarrow, and `spark` a class of `pyspark.sql.types`, both empty where
    a type has elements. `json` is a JSON schema, and `english` what a refusal calls a right value. `layout` is the least
    layout of packed values that knows the type.
    """

    in_row: str
    numpy: str
    arrow: str
    spark: str
    json: Mapping[str, Any]
    english: str
    layout: int = 1


@dataclass(frozen=True, kw_only=True)
class TypeInfo:
    """One row of the table: the name in Spark SQL, and how features of the type are packed; or what to take instead.

    A value of a type with an `element` is an array of that; of `length` elements, or, where that is None, of any number.
    """

    sql: str
    packed: Packed | None = None
    instead: str = ""
    element: "Type | None" = None
    length: int | None = None


class Type(str):
    """A column's type, spelled as Spark SQL spells it, or as `vector(n)` or `list(…)`; `Type(text)` finds the one of that name.

    Features are of STRING, INT64, FLOAT64, FLOAT32, BOOL, TIMESTAMP or DATE, or `Vector(n)` or `List(…)`, and ids of STRING,
    INT64 or DATE. Definitions import them from `tailrace`. `at_most` is how many elements a list may have where it is written,
    None where that is not known; types of the same name are equal whatever it is.
    """

    STRING: ClassVar["Type"]
    INT64: ClassVar["Type"]
    FLOAT64: ClassVar["Type"]
    FLOAT32: ClassVar["Type"]
    BOOL: ClassVar["Type"]
    TIMESTAMP: ClassVar["Type"]
    DATE: ClassVar["Type"]
    BINARY: ClassVar["Type"]
    DECIMAL: ClassVar["Type"]

    _known: ClassVar[dict[str, "Type"]] = {}
    name: str
    info: TypeInfo
    at_most: int | None

    def __new__(cls, text: str) -> "Type":
        found = cls._known.get(text) or many_valued(text)
        if found is None:
            raise ValueError(f"{text!r} is not a type; there are {', '.join(cls._known)}")
        return found

    def __repr__(self) -> str:
        return f"<Type.{self.name}: {str.__repr__(self)}>"  # the fingerprints of 0.1 have it

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Type, (str(self),)) if self.at_most is None else (List, (self.info.element, self.at_most))

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
        added = cls._made(info.sql, name, info)
        cls._known[info.sql] = added
        setattr(cls, name, added)
        return added

    @classmethod
    def _made(cls, text: str, name: str, info: TypeInfo, at_most: int | None = None) -> "Type":
        made = str.__new__(cls, text)
        made.name, made.info, made.at_most = name, info, at_most
        return made


def feature_types() -> tuple[Type, ...]:
    """The types that features may have."""
    return tuple(
        type_ for type_ in Type._known.values() if type_.info.packed is not None
    )  # lists and vectors have no end


LARGEST_FLOAT32 = 3.4028234663852886e38

INT64 = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
FLOAT32 = {"type": "number", "minimum": -LARGEST_FLOAT32, "maximum": LARGEST_FLOAT32}
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
    "FLOAT32": TypeInfo(
        sql="float",
        packed=Packed(
            in_row="<f4", numpy="f4", arrow="float32", spark="FloatType", json=FLOAT32, english="a number", layout=2
        ),
    ),
    # Days since 1970.
    "DATE": TypeInfo(
        sql="date",
        packed=Packed(
            in_row="<i4",
            numpy="M8[D]",
            arrow="date32",
            spark="DateType",
            json={"type": "string", "format": "date"},
            english="a date such as 2026-01-31",
            layout=2,
        ),
    ),
    # What a value is packed into.
    "BINARY": TypeInfo(sql="binary", instead="give it as STRING"),
    # Sums of decimals are exact in any order; only state is kept in it.
    "DECIMAL": TypeInfo(sql="decimal(38,6)", instead="give it as FLOAT64"),
}
for _name, _info in TABLE.items():
    Type.add(_name, _info)


def Vector(length: int) -> Type:  # noqa: N802 -- as other types are spelled
    """The type of vectors of so many FLOAT32, such as an embedding; the reader has them as one matrix."""
    check_count(length, up_to=LONGEST_VECTOR, of=f"Vector({length!r})")
    return Type(f"vector({length})")


def List(element: Type, at_most: int) -> Type:  # noqa: N802 -- as other types are spelled
    """The type of lists of STRING, INT64 or FLOAT64, of `at_most` so many elements."""
    if element not in LISTED:
        names = ", ".join(Type(one).name for one in LISTED)
        raise DefinitionError(f"List({element!r}): a list is of one of {names}")
    check_count(at_most, up_to=LONGEST_LIST, of=f"List({element.name}, at_most={at_most!r})")
    found = Type(f"list({element})")
    return Type._made(str(found), found.name, found.info, at_most)


def check_count(count: object, *, up_to: int, of: str) -> None:
    """Raise `DefinitionError` for what is no number from 1 to a limit."""
    if type(count) is not int or not 1 <= count <= up_to:
        raise DefinitionError(f"{of}: give a number from 1 to {up_to:,}")


LISTED = (Type.STRING, Type.INT64, Type.FLOAT64)
MANY_VALUED: dict[str, Type] = {}
MANY = re.compile(r"vector\(([1-9]\d{0,5})\)|list\((\w+)\)")


def many_valued(text: str) -> Type | None:
    """The type of vectors or lists that a text names, None where it names none."""
    named = MANY.fullmatch(text)
    if named is None:
        return None
    length, element = named.groups()
    if length is None and element not in LISTED:
        return None
    info = info_of_vector(int(length)) if length else info_of_list(Type(element))
    return MANY_VALUED.setdefault(text, Type._made(text, text, info))


def info_of_vector(length: int) -> TypeInfo:
    packed = Packed(
        in_row=f"({length},)<f4",
        numpy=f"({length},)f4",
        arrow="",
        spark="",
        json={"type": "array", "items": FLOAT32, "minItems": length, "maxItems": length},
        english=f"a list of {length} numbers",
        layout=2,
    )
    return TypeInfo(sql="array<float>", packed=packed, element=Type.FLOAT32, length=length)


def info_of_list(element: Type) -> TypeInfo:
    of = element.packed
    packed = Packed(
        in_row="<u4",
        numpy="O",
        arrow="",
        spark="",
        json={"type": "array", "items": of.json},
        english=f"a list, each {of.english}",
        layout=2,
    )
    return TypeInfo(sql=f"array<{element}>", packed=packed, element=element)
