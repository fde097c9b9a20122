"""A source that is declared with every type and option, and what it makes of a line by plain Python."""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tailrace.definitions import EventSource, Field, Time, Type

NOW = datetime(2026, 3, 2, 10, 11, 12, 131415, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
MICROS = {"s": Decimal(10**6), "ms": Decimal(1000), "us": Decimal(1), "ns": Decimal("0.001")}
ODD_PATTERN = r"""it's "\d+" \\ \$\{x\}|\${2}|a|b c"""

FIELDS = (
    Field("query", Type.STRING, path="$.request.q", required=True),
    Field("user_id", Type.STRING, path="$.request['user id']['$oid']", id=True),
    Field("tag", Type.STRING, path='$["it\'s"][1]'),
    Field("deep", Type.INT64, path="$.lists[0][1]['c.d']"),
    Field("product_id", Type.INT64, required=True),
    Field("rank", Type.INT64, minimum=-5, maximum=10**17 + 1),
    Field("dwell", Type.FLOAT64, minimum=0.5, maximum=1e300),
    Field("score", Type.FLOAT64),
    Field("clicked", Type.BOOL),
    Field("day", Type.DATE),
    Field("expires", Type.TIMESTAMP),
    Field("code", Type.STRING, pattern=ODD_PATTERN),
    Field("order", Type.STRING, pattern="[A-Z]+"),
    Field("facts", Type.STRING, json=True),
)


def source(name="searches", *, id=("search_id", "part"), time=None, fields=FIELDS):
    return EventSource(name=name, id=id, time=time or Time("ts"), fields=fields)


@dataclass(frozen=True)
class Number:
    """A number of JSON as it was written."""

    text: str


class Refused(Exception):
    """A line that is not usable, for the field that it names."""


def parsed(line: str) -> Any:
    return json.loads(line, parse_int=Number, parse_float=Number)


def expected(line: str, of: EventSource, *, now: datetime = NOW) -> dict[str, Any]:
    """The columns of a usable line; raises `Refused`."""
    given = parsed(line)
    return {field.name: value_of(field, of, at_path(given, field.parts), now=now) for field in of.columns}


def at_path(given: Any, parts: Any) -> Any:
    for part in parts:
        is_there = given.__class__ is (list if isinstance(part, int) else dict)
        is_there = is_there and (part < len(given) if isinstance(part, int) else part in given)
        given = given[part] if is_there else None
    return given


def value_of(field: Field, of: EventSource, given: Any, *, now: datetime) -> Any:
    is_time, is_key = field.name == of.time.name, field.name in of.key_columns
    if given is None:
        if field.required or is_time or is_key:
            raise Refused(field.name)
        return None
    if field.type is Type.TIMESTAMP:
        at = time_of(given, of.time if is_time else Time(field.name))
        if at is None or not EARLIEST <= at < LATEST or (is_time and at > now + timedelta(hours=24)):
            raise Refused(field.name)
        return at
    is_text = field.type is Type.STRING
    value = text_of(field, given, is_key=is_key) if is_text else READERS[field.type](given)
    if value is None or not is_allowed(field, value):
        raise Refused(field.name)
    return value


def is_allowed(field: Field, value: Any) -> bool:
    if field.pattern is not None:
        return re.fullmatch(field.pattern, value, re.ASCII) is not None
    low, high = field.minimum, field.maximum
    return (low is None or value >= low) and (high is None or value <= high)


def text_of(field: Field, given: Any, *, is_key: bool) -> str | None:
    if field.json:
        return "object" if isinstance(given, dict) and is_finite(given) else None
    is_id = field.id or is_key
    if isinstance(given, Number):
        is_whole = re.fullmatch(r"-?\d+(\.0*)?", given.text) is not None
        number = int(Decimal(given.text)) if is_whole else 0
        is_short = -(2**63) <= number < 2**64 if is_id else abs(number) < 10**38
        given = str(number) if is_whole and is_short else None
    if not isinstance(given, str) or (not given and (field.required or is_key)):
        return None
    if is_id:
        is_odd = len(given.encode()) > 1000 or any(ord(one) < 32 or 127 <= ord(one) < 160 for one in given)
        return None if is_odd else given
    return given


def is_finite(given: Any) -> bool:
    """Whether all numbers inside an object are of 64 bits."""
    if isinstance(given, dict | list):
        return all(map(is_finite, given.values() if isinstance(given, dict) else given))
    return not isinstance(given, Number) or math.isfinite(float(given.text))


def int_of(given: Any) -> int | None:
    is_whole = isinstance(given, Number) and re.fullmatch(r"-?\d+", given.text)
    return int(given.text) if is_whole and -(2**63) <= int(given.text) < 2**63 else None


def float_of(given: Any) -> float | None:
    number = float(given.text) + 0.0 if isinstance(given, Number) else math.inf
    return number if math.isfinite(number) else None


def bool_of(given: Any) -> bool | None:
    return given if isinstance(given, bool) else None


def date_of(given: Any) -> date | None:
    try:
        return date.fromisoformat(given) if re.fullmatch(r"\d{4}-\d\d-\d\d", given, re.ASCII) else None
    except (TypeError, ValueError):
        return None


READERS: dict[Type, Any] = {Type.INT64: int_of, Type.FLOAT64: float_of, Type.BOOL: bool_of, Type.DATE: date_of}
ISO = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)


def time_of(given: Any, time: Time) -> datetime | None:
    if isinstance(given, Number):
        return moment_after_1970(Decimal(given.text), time.unit) if time.unit else None
    matched = ISO.fullmatch(given) if isinstance(given, str) else None
    if matched is None:
        return None
    day, clock, fraction, offset = matched.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0').ljust(6, '0')[:6]}{offset or ''}")
        return at.astimezone(UTC) if offset else at.replace(tzinfo=ZoneInfo(time.zone or "UTC")).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment_after_1970(number: Decimal, unit: str) -> datetime | None:
    exact = Context(prec=1_000)
    rounded = exact.quantize(number, Decimal("1e-18"))  # Spark keeps so many digits behind the point
    micros = math.floor(exact.multiply(rounded, MICROS[unit]))
    try:
        return EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return None
