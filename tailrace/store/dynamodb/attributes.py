"""Answers of the store, taken apart where they enter: a field that is absent, null or of another type is the same."""

import binascii
from collections.abc import Mapping
from typing import Any

import pybase64

LONGEST_NUMBER = 40  # digits; DynamoDB's numbers have at most 38


def object_in(answer: object, name: str) -> dict[str, Any]:
    """An object in an object; empty where there is none."""
    found = answer.get(name) if isinstance(answer, Mapping) else None
    return found if isinstance(found, dict) else {}


def list_in(answer: object, name: str) -> list[Any]:
    """A list in an object; empty where there is none."""
    found = answer.get(name) if isinstance(answer, Mapping) else None
    return found if isinstance(found, list) else []


def text_in(item: object, attribute: str) -> str | None:
    """A text of an item; None where it has none."""
    found = object_in(item, attribute).get("S")
    return found if isinstance(found, str) else None


def texts_in(item: object, attribute: str) -> list[str]:
    """The set of texts of an item, in a fixed order; empty where it has none."""
    return sorted(one for one in list_in(object_in(item, attribute), "SS") if isinstance(one, str))


def whole_in(item: object, attribute: str) -> int | None:
    """A whole number of an item; None where it has none."""
    found = object_in(item, attribute).get("N")
    if not isinstance(found, str) or len(found) > LONGEST_NUMBER:
        return None
    try:
        return int(found)
    except ValueError:
        return None


def flag_in(item: object, attribute: str) -> bool | None:
    """True or false of an item; None where it has neither."""
    found = object_in(item, attribute).get("BOOL")
    return found if isinstance(found, bool) else None


def binary_in(item: object, attribute: str) -> bytes | None:
    """Bytes of an item; None where it has none."""
    found = object_in(item, attribute).get("B")
    try:
        return pybase64.b64decode(found, validate=True) if isinstance(found, str) else None
    except (ValueError, binascii.Error):
        return None
