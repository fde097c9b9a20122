"""Strictness that Python's JSON parser has only when asked for."""

from collections.abc import Sequence
from typing import Any

from tailrace.errors import DataError


class Duplicate(DataError, ValueError):
    """A field that an object gives twice, of which a parser silently takes one; the message is its name."""


def without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these fields, as `object_pairs_hook` of `json`; raises `Duplicate`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Duplicate(next(name for name in names if names.count(name) > 1))
    return found
