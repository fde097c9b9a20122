"""Whether two readers answer alike: the same values and nulls for the same documents, however each of them writes times."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from bench.documents import VIEW
from tailrace.errors import DataError
from tailrace.schemas.tables import Type

TYPES = {feature.name: feature.type for feature in VIEW.features}


class Unequal(DataError):
    """Two readers answer differently, so comparing them says nothing; the message names where."""


def equal_values(one: bytes, other: bytes) -> int:
    """How many values two answers in Feast's JSON share, which is all of them; raises `Unequal`."""
    ours, theirs = dict(values_of(one)), dict(values_of(other))
    if ours.keys() != theirs.keys() or not ours:
        raise Unequal(f"the answers have {len(ours)} and {len(theirs)} values")
    for place, value in ours.items():
        if value != theirs[place]:
            name, row = place
            raise Unequal(f"feature {name}, row {row} is {value!r} in one answer and {theirs[place]!r} in the other")
    return len(ours)


def values_of(answer: bytes) -> Iterator[tuple[tuple[str, int], Any]]:
    answered = orjson.loads(answer)
    for name, result in zip(answered["metadata"]["feature_names"], answered["results"], strict=True):
        if name in TYPES:
            for row, value in enumerate(result["values"]):
                yield (name, row), seconds_of(value) if TYPES[name] is Type.TIMESTAMP else value


def seconds_of(value: str | float | None) -> float | None:
    """A time as text, or as what it already is: seconds since 1970."""
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
