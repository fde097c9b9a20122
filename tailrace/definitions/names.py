"""What definitions name: entities and windows; and how names are checked."""

import re
from dataclasses import dataclass
from datetime import timedelta

from tailrace.errors import DefinitionError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def check_name(name: str, *, of: str) -> None:
    """Raise `DefinitionError` for a name that cannot be used, `of` saying whose it is."""
    if not NAME.fullmatch(name):
        raise DefinitionError(
            f"{of}: {name!r} is not a valid name; write a lower-case letter, then at most 62 of a-z, 0-9 and _"
        )


@dataclass(frozen=True)
class Entity:
    """A thing with an id, such as a document; `key` is the column that holds the id."""

    name: str
    key: str
    description: str

    def __post_init__(self) -> None:
        check_name(self.name, of="an entity's name")
        check_name(self.key, of=f"entity {self.name!r}, field 'key'")


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
