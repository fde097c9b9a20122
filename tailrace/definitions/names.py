"""What definitions name: entities and windows; and how names are checked."""

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import UnionType

from tailrace.errors import DefinitionError
from tailrace.schemas.types import Type

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
KEY_TYPES = (Type.STRING, Type.INT64, Type.DATE)
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def check_name(name: str, *, of: str) -> None:
    """Raise `DefinitionError` for a name that cannot be used, `of` saying whose it is."""
    if not NAME.fullmatch(name):
        raise DefinitionError(
            f"{of}: {name!r} is not a valid name; write a lower-case letter, then at most 62 of a-z, 0-9 and _"
        )


def check_tuple(value: object, kind: type | UnionType, *, of: str, example: str) -> None:
    """Raise `DefinitionError` for what is not a tuple of a kind, `of` saying where it stands and `example` what to write."""
    if not isinstance(value, tuple | list) or not all(isinstance(one, kind) for one in value):
        raise DefinitionError(f"{of}: give a tuple, also of one, as in {example}")


def spelled(*types: object) -> str:
    """Types as definitions spell them, such as STRING, INT64."""
    return ", ".join(one.name if isinstance(one, Type) else repr(one) for one in types)


@dataclass(frozen=True)
class Entity:
    """A thing with an id, such as a document; `key` is what its ids are called, and STRING, INT64 or DATE their `type`.

    `column` is the column of a source that holds the id, where that has another name; `as_` gives such an entity.
    """

    name: str
    key: str
    description: str = ""
    type: Type = field(default=Type.STRING, kw_only=True)
    column: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        here = f"entity {self.name!r}"
        check_name(self.name, of="an entity's name")
        check_name(self.key, of=f"{here}, field 'key'")
        if self.type not in KEY_TYPES:
            raise DefinitionError(f"{here}, field 'type': {spelled(self.type)} is not one of {spelled(*KEY_TYPES)}")
        if not self.column:
            object.__setattr__(self, "column", self.key)
        check_name(self.column, of=f"{here}, field 'column'")

    def as_(self, column: str) -> "Entity":
        """The same entity, in views over a source that has its ids in another column."""
        return replace(self, column=column)


@dataclass(frozen=True)
class Window:
    """A named span of time before the as-of; `length` is None for all time."""

    name: str
    length: timedelta | None

    @classmethod
    def parse(cls, text: str, *, of: str) -> "Window":
        """Read `15m`, `24h`, `7d` or `total`."""
        if text == "total":
            return cls(text, None)
        match = re.fullmatch(r"([1-9]\d{0,4})([mhd])", text)
        if match is None:
            raise DefinitionError(f"{of}: {text!r} is not a window; write a number of m, h or d such as 24h, or total")
        return cls(text, int(match[1]) * UNITS[match[2]])
