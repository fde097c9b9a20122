"""Lines of events that can be used, with what they say, and lines that cannot, with why."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tailrace.schemas import ids
from tests import feeds

NOW = datetime(2026, 3, 2, 10, 11, 12, 131415, tzinfo=UTC)

EVENT: dict[str, Any] = {"event_id": "e1", "event_type": "edit", "actor_id": "u1", "document_id": "d1"}
EVENT |= {"occurred_at": "2026-03-01T09:08:07.654321Z", "source": "drive", "attributes": {"place": "Rome", "turn": 2}}
EVENT_FACTS = EVENT | {
    "occurred_at": datetime(2026, 3, 1, 9, 8, 7, 654321, tzinfo=UTC),
    "attributes": '{"place":"Rome","turn":2}',
}

NOT_AN_OBJECT = "the line is not a JSON object"
NOT_UTF8 = "the line is not UTF-8"
NOT_A_TIME = "occurred_at is not an ISO 8601 time such as 2026-01-31T09:15:00Z"
AHEAD = "occurred_at is more than 24 hours ahead of the clock"
NOT_A_TYPE = "event_type does not match [a-z][a-z0-9_]{0,62}"
IDS = ("event_id", "actor_id", "document_id")
REQUIRED = tuple(field.name for field in feeds.EVENTS.fields if field.required)
TEXTS = (*IDS, "event_type", "occurred_at", "source")
NOT_TEXT = {name: f"{name} {ids.NOT_TEXT if name in IDS else 'is not text'}" for name in TEXTS}


OUTSIDE = "occurred_at is not between the years 1900 and 2199"
INFINITE = "attributes has a number beyond the range of 64 bits"
TOO_DEEP = "the line is JSON that nests more than 200 levels"
HALF_A_PAIR = "the line has half a surrogate pair"


def nested(levels):
    return '{"a":' * levels + "{}" + "}" * levels


def event(**changes):
    return json.dumps(EVENT | changes, ensure_ascii=False).encode()


def without(row, field):
    return json.dumps({name: value for name, value in row.items() if name != field}).encode()


def with_raw(field, text):
    """The event with a field's JSON given as it stands."""
    return event(**{field: "RAW"}).replace(b'"RAW"', text)


REFUSED_EVENTS = {
    **{f"no {name}": (without(EVENT, name), f"{name} is missing") for name in REQUIRED},
    **{f"null {name}": (event(**{name: None}), f"{name} is missing") for name in REQUIRED},
    **{f"empty {name}": (event(**{name: ""}), f"{name} is empty") for name in (*IDS, "event_type")},
    **{f"object as {name}": (event(**{name: {"id": "x"}}), NOT_TEXT[name]) for name in TEXTS},
    **{f"list as {name}": (event(**{name: ["x"]}), NOT_TEXT[name]) for name in TEXTS},
    **{f"bool as {name}": (event(**{name: True}), NOT_TEXT[name]) for name in TEXTS},
    **{f"fraction as {name}": (event(**{name: 1.5}), NOT_TEXT[name]) for name in TEXTS},
    **{f"exponent as {name}": (with_raw(name, b"1e3"), NOT_TEXT[name]) for name in TEXTS},
    **{f"1001 bytes of {n}": (event(**{n: "x" * 1001}), f"{n} is longer than 1000 bytes of UTF-8") for n in IDS},
    **{f"1002 bytes in 501 letters of {n}": (event(**{n: "é" * 501}), f"{n} is longer than 1000 bytes of UTF-8") for n in IDS},
    "64 characters of type": (event(event_type="a" * 64), NOT_A_TYPE),
    "upper case in a type": (event(event_type="Edit"), NOT_A_TYPE),
    "leading digit in a type": (event(event_type="1edit"), NOT_A_TYPE),
    "leading underscore in a type": (event(event_type="_edit"), NOT_A_TYPE),
    "hyphen in a type": (event(event_type="re-edit"), NOT_A_TYPE),
    "blank before a type": (event(event_type=" edit"), NOT_A_TYPE),
    "line break after a type": (event(event_type="edit\n"), NOT_A_TYPE),
    "whole number as a type": (event(event_type=7), NOT_A_TYPE),
    "date only": (event(occurred_at="2026-03-01"), NOT_A_TIME),
    "no seconds": (event(occurred_at="2026-03-01T09:08Z"), NOT_A_TIME),
    "hour 25": (event(occurred_at="2026-03-01T25:00:00Z"), NOT_A_TIME),
    "second 60": (event(occurred_at="2026-03-01T09:08:60Z"), NOT_A_TIME),
    "30 February": (event(occurred_at="2026-02-30T09:08:07Z"), NOT_A_TIME),
    "10 digits of a second": (event(occurred_at="2026-03-01T09:08:07.1234567890Z"), NOT_A_TIME),
    "point without digits": (event(occurred_at="2026-03-01T09:08:07.Z"), NOT_A_TIME),
    "offset of 19 hours": (event(occurred_at="2026-03-01T09:08:07+19:00"), NOT_A_TIME),
    "zone by name": (event(occurred_at="2026-03-01T09:08:07 Europe/Rome"), NOT_A_TIME),
    "line break after a time": (event(occurred_at="2026-03-01T09:08:07Z\n"), NOT_A_TIME),
    "text as time": (event(occurred_at="yesterday"), NOT_A_TIME),
    "empty time": (event(occurred_at=""), NOT_A_TIME),
    "number as time": (event(occurred_at=1767225600), NOT_A_TIME),
    "a microsecond too far ahead": (event(occurred_at="2026-03-03T10:11:12.131416Z"), AHEAD),
    "too far ahead by its offset": (event(occurred_at="2026-03-03T10:11:12.131415-00:01"), AHEAD),
    **{f"{time} as time": (event(occurred_at=time), OUTSIDE) for time in (
        "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "1601-01-01T00:00:00Z", "1899-12-31T23:59:59.999999Z",
        "1900-01-01T00:00:00+00:01", "2199-12-31T23:59:00-00:01", "2200-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    )},
    **{f"{number:.12} in attributes": (with_raw("attributes", b'{"x":[%s]}' % number.encode()), INFINITE) for number in (
        "1E400", "-1e309", "1.5E+999", "2" * 310, "0.1e310",
    )},
    "a text and a number that are both infinite": (with_raw("attributes", b'{"x":"Infinity","y":1E400}'), INFINITE),
    **{f"{levels:,} levels": (with_raw("attributes", nested(levels).encode()), TOO_DEEP) for levels in (200, 900, 1_100)},
    "900 levels of arrays": (b"[" * 900 + b"]" * 900, NOT_AN_OBJECT),
    "1,200 digits": (with_raw("attributes", b'{"x":' + b"7" * 1_200 + b"}"), "the line is JSON with a number of more than 1,000 digits"),
    "60,000 characters of a name": (event(attributes={"x" * 60_000: 1}), "the line is JSON with a name of more than 50,000 characters"),
    "half a pair": (with_raw("source", b'"\\ud800"'), HALF_A_PAIR),
    "the other half": (with_raw("source", b'"x\\uDC00"'), HALF_A_PAIR),
    "1,100 open brackets": (b'{"a":' + b"[" * 1_100, NOT_AN_OBJECT),
    "text as attributes": (event(attributes="x"), "attributes is not a JSON object"),
    "list as attributes": (event(attributes=[{}]), "attributes is not a JSON object"),
    "number as attributes": (event(attributes=1), "attributes is not a JSON object"),
    "first problem in the order of the columns": (event(actor_id="", event_type="1", source=1), NOT_A_TYPE),
    "not JSON": (b"event_id=e1", NOT_AN_OBJECT),
    "half an object": (event()[:-1], NOT_AN_OBJECT),
    "single quotes": (event().replace(b'"', b"'"), NOT_AN_OBJECT),
    "comma at the end": (event()[:-1] + b",}", NOT_AN_OBJECT),
    "two objects": (event() + event(), NOT_AN_OBJECT),
    "two objects with a blank": (event() + b" " + event(), NOT_AN_OBJECT),
    "two objects with a comma": (event() + b"," + event(), NOT_AN_OBJECT),
    "an object and a field": (event() + b',"more":1', NOT_AN_OBJECT),
    "trailing text": (event() + b" x", NOT_AN_OBJECT),
    "stray brace": (event() + b"}", NOT_AN_OBJECT),
    "stray braces": (event() + b"}}", NOT_AN_OBJECT),
    "stray bracket": (event() + b"]", NOT_AN_OBJECT),
    "stray bracket and brace": (event() + b"]}", NOT_AN_OBJECT),
    "stray brace and bracket": (event() + b"}]", NOT_AN_OBJECT),
    "trailing comma": (event() + b",", NOT_AN_OBJECT),
    "array": (b"[" + event() + b"]", NOT_AN_OBJECT),
    "text": (b'"edit"', NOT_AN_OBJECT),
    "number": (b"17", NOT_AN_OBJECT),
    "null": (b"null", NOT_AN_OBJECT),
    "duplicate key": (event()[:-1] + b',"event_id":"e9"}', NOT_AN_OBJECT),
    "NaN": (with_raw("source", b"NaN"), NOT_AN_OBJECT),
    "invalid UTF-8": (event(source="RAW").replace(b"RAW", b"\xff\xfe"), NOT_UTF8),
    "Latin-1": (event(source="é").decode().encode("latin-1"), NOT_UTF8),
    "UTF-16": (event().decode().encode("utf-16"), NOT_UTF8),
}  # fmt: skip

USABLE_EVENTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "all fields": (event(), {}),
    "field nobody knows": (event(more=1), {}),
    "BOM": (b"\xef\xbb\xbf" + event(), {}),
    "blanks around": (b" \t" + event() + b" \t\r", {}),
    **{f"1000 bytes of {name}": (event(**{name: "x" * 1000}), {name: "x" * 1000}) for name in IDS},
    **{f"1000 bytes in 500 letters of {n}": (event(**{n: "é" * 500}), {n: "é" * 500}) for n in IDS},
    **{f"whole number as {name}": (event(**{name: 7}), {name: "7"}) for name in IDS},
    **{f"20 digits as {name}": (event(**{name: 10**19}), {name: "10000000000000000000"}) for name in IDS},
    "whole number as source": (event(source=7), {"source": "7"}),
    "odd id": (event(event_id=' "\\\u2028\U0001f600'), {"event_id": ' "\\\u2028\U0001f600'}),
    "63 characters of type": (event(event_type="a" + "_9" * 31), {"event_type": "a" + "_9" * 31}),
    "one letter of type": (event(event_type="v"), {"event_type": "v"}),
    "null source": (event(source=None), {"source": None}),
    "no source": (without(EVENT, "source"), {"source": None}),
    "empty source": (event(source=""), {"source": ""}),
    "long source": (event(source="x" * 1001), {"source": "x" * 1001}),
    "no attributes": (without(EVENT, "attributes"), {"attributes": None}),
    "null attributes": (event(attributes=None), {"attributes": None}),
    "empty attributes": (event(attributes={}), {"attributes": "{}"}),
    "nested attributes": (event(attributes={"a": [{"b": None}]}), {"attributes": '{"a":[{"b":null}]}'}),
    "line break in an attribute's name": (event(attributes={"a\nb": 1}), {"attributes": '{"a\\nb":1}'}),
    "time with an offset": (event(occurred_at="2026-03-01T09:08:07+02:30"), {"occurred_at": datetime(2026, 3, 1, 6, 38, 7, tzinfo=UTC)}),
    "time without an offset": (event(occurred_at="2026-03-01T09:08:07"), {"occurred_at": datetime(2026, 3, 1, 9, 8, 7, tzinfo=UTC)}),
    "time with a blank": (event(occurred_at="2026-03-01 09:08:07Z"), {"occurred_at": datetime(2026, 3, 1, 9, 8, 7, tzinfo=UTC)}),
    "one digit of a second": (event(occurred_at="2026-03-01T09:08:07.6Z"), {"occurred_at": datetime(2026, 3, 1, 9, 8, 7, 600000, tzinfo=UTC)}),
    "nanoseconds": (event(occurred_at="2026-03-01T09:08:07.123456999Z"), {"occurred_at": datetime(2026, 3, 1, 9, 8, 7, 123456, tzinfo=UTC)}),
    "29 February": (event(occurred_at="2024-02-29T00:00:00Z"), {"occurred_at": datetime(2024, 2, 29, tzinfo=UTC)}),
    "before 1970": (event(occurred_at="1969-12-31T23:59:59.999999Z"), {"occurred_at": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)}),
    "1900": (event(occurred_at="1900-01-01T00:00:00Z"), {"occurred_at": datetime(1900, 1, 1, tzinfo=UTC)}),
    "1900 by its offset": (event(occurred_at="1899-12-31T22:00:00-02:00"), {"occurred_at": datetime(1900, 1, 1, tzinfo=UTC)}),
    "199 levels": (with_raw("attributes", nested(198).encode()), {"attributes": nested(198)}),
    "texts that say infinity": (event(attributes={"x": "Infinity", "y": "1E400"}), {"attributes": '{"x":"Infinity","y":"1E400"}'}),
    "1E400 in a field nobody knows": (with_raw("attributes", b"{}")[:-1] + b',"more":1E400}', {"attributes": "{}"}),
    "the largest number": (with_raw("attributes", b'{"x":1e308}'), {"attributes": '{"x":1.0E308}'}),
    "exactly 24 hours ahead": (
        event(occurred_at="2026-03-03T10:11:12.131415Z"),
        {"occurred_at": NOW + timedelta(hours=24)},
    ),
}  # fmt: skip
