"""Windows: a window W at T covers what happened with T - W < occurred_at <= T."""

import re
from dataclasses import dataclass
from datetime import timedelta

from tailrace.definitions.problem import DefinitionError

UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


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
