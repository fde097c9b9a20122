"""What may be an id: one rule for whatever lands, is written or is asked for.

An id is a text of 1 to 1,000 bytes of UTF-8 without control characters, kept as it is: "007" is not "7". A whole number
of at most 64 bits stands for its digits, also with zeros behind its point: 7 and 7.0 are the id "7". Everything else is
refused: booleans, fractions, exponents (1e3), longer numbers. `jobs.bronze.lines` is the same rule for Spark's columns.

Readers convert values by this rule and look texts up as they are: what a home took before the rule stays readable.

The key of an entity that is a number or a day has one text, by which everyone names its item: INT64 as plain digits (-7,
and neither 007 nor +7), DATE as 2026-03-02.
`WrittenNumber` and `without_duplicates` give Python's JSON parser the strictness that ids and fields need.
"""

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from tailrace.errors import DataError
from tailrace.schemas.types import Type

MAXIMUM_BYTES = 1_000  # of UTF-8; ids seen in practice reach 917 characters
SMALLEST, LARGEST = -(2**63), 2**64 - 1  # signed or not, of 64 bits
EXACT_IN_A_DOUBLE = 2**53
MAXIMUM_DIGITS = 38  # of a number with a point, before and behind it: more are a double to Spark, which rounds
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Java reads the pattern alike

NOT_TEXT = "is not text or a whole number of at most 64 bits"
EMPTY = "is empty"
TOO_LONG = f"is longer than {MAXIMUM_BYTES} bytes of UTF-8"
HAS_CONTROL = "has a control character"
NOT_UNICODE = "has half a surrogate pair"

PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
PLAIN_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NOT_PLAIN = "is not a whole number of 64 bits written plainly, such as 7 or -7"
NOT_A_DATE = "is not a date such as 2026-03-02"


class NotAnIdError(DataError, ValueError):
    """A value that cannot be an id; the message says why, without the name of its field."""


class WrittenNumber(float):
    """A JSON number with a point or an exponent that remembers how it was written; give it to `json` as `parse_float`."""

    text: str

    def __new__(cls, text: str) -> "WrittenNumber":
        number = super().__new__(cls, text)
        number.text = text
        return number


def id_of(value: Any) -> str:
    """The id that a value stands for; raises `NotAnIdError`."""
    text = text_of(value)
    problem = problem_of(text)
    if problem:
        raise NotAnIdError(problem)
    return text


def text_of(value: Any) -> str:
    """A text as it is, a whole number as its digits; raises `NotAnIdError` for any other value."""
    if isinstance(value, str):
        return value
    number = whole_number(value)
    if number is None or not SMALLEST <= number <= LARGEST:
        raise NotAnIdError(NOT_TEXT)
    return str(number)


def problem_of(text: str) -> str | None:
    """Why a text cannot be an id; None if it can."""
    if not text:
        return EMPTY
    try:
        if len(text.encode()) > MAXIMUM_BYTES:
            return TOO_LONG
    except UnicodeEncodeError:
        return NOT_UNICODE
    return HAS_CONTROL if CONTROL.search(text) else None


def whole_number(value: Any) -> int | None:
    """The whole number that a value is exactly; None for one that is none, or not certainly."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, WrittenNumber):
        return None if "e" in value.text.lower() else whole_decimal(Decimal(value.text))
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < EXACT_IN_A_DOUBLE else None
    return whole_decimal(value) if isinstance(value, Decimal) else None


def whole_decimal(value: Decimal) -> int | None:
    """The whole number that a decimal is exactly; None if it is not one."""
    _, digits, exponent = value.as_tuple()
    is_exact = isinstance(exponent, int) and len(digits) <= MAXIMUM_DIGITS and -exponent <= MAXIMUM_DIGITS
    return int(value) if is_exact and value == value.to_integral_value() else None


Key = str | int | date


def key_text(value: Any, type_: Type) -> str:
    """The text of a key, by the type of its entity, by which it is looked up; raises `NotAnIdError`."""
    text = value.isoformat() if type_ is Type.DATE and type(value) is date else text_of(value)
    key_of_text(text, type_)
    return text


def key_of_text(text: str, type_: Type) -> Key:
    """The key of a type that a text stands for, a STRING as it is; raises `NotAnIdError` for any other text than its own."""
    if type_ is Type.INT64:
        number = int(text) if PLAIN_NUMBER.fullmatch(text) else None
        if number is None or not -(2**63) <= number < 2**63:
            raise NotAnIdError(NOT_PLAIN)
        return number
    if type_ is Type.DATE:
        try:
            day = date.fromisoformat(text) if PLAIN_DATE.fullmatch(text) else None
        except ValueError:
            day = None
        if day is None:
            raise NotAnIdError(NOT_A_DATE)
        return day
    return text


class Duplicate(DataError, ValueError):
    """A field that an object gives twice, of which a parser silently takes one; the message is its name."""


def without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these fields, as `object_pairs_hook` of `json`; raises `Duplicate`."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise Duplicate(next(name for name in names if names.count(name) > 1))
    return found
