"""Lines of declared sources: every type, path, option, time and id, by Spark and by plain Python."""

import json
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from jobs.bronze.lines import check_rules, validate_lines
from tailrace.definitions import Field, Time, Type
from tailrace.errors import DefinitionError
from tests.jobs.bronze.own_source import EPOCH, FIELDS, NOW, Refused, expected, source

LINE: dict[str, Any] = {"search_id": "s1", "part": 3, "ts": "2026-03-01T09:08:07.654321Z", "product_id": 12}
LINE |= {"request": {"q": "shoes", "user id": {"$oid": "u7"}}, "it's": ["x", "red"], "lists": [[0, {"c.d": 5}]]}
LINE |= {"rank": 2, "dwell": 1.5, "score": 0.25, "clicked": True, "day": "2026-02-28", "code": "a", "order": "ASC"}
LINE |= {"expires": "2026-12-31T00:00:00Z", "facts": {"b": 1, "a": [None, "x"]}}
SOURCE = source()
REFUSED = object()


class Raw(str):
    """JSON as it stands."""


def line_of(changes: dict[str, Any]) -> str:
    """The line with fields changed; `Raw` goes in as it stands."""
    raws = {name: value for name, value in changes.items() if isinstance(value, Raw)}
    fields = LINE | {name: f"<{name}>" if name in raws else value for name, value in changes.items()}
    text = json.dumps(fields, ensure_ascii=False)
    for name, raw in raws.items():
        text = text.replace(f'"<{name}>"', raw)
    return text


def without(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names)


CASES: dict[str, tuple[dict[str, Any], str, Any]] = {
    "nested": ({}, "query", "shoes"),
    "nested below null": ({"request": None}, "query", REFUSED),
    "nested below a list": ({"request": ["q"]}, "query", REFUSED),
    "nested below a text": ({"request": "q"}, "query", REFUSED),
    "nested null": ({"request": {"q": None}}, "query", REFUSED),
    "a quoted name with a dollar sign": ({}, "user_id", "u7"),
    "an optional id that is absent": ({"request": {"q": "x"}}, "user_id", None),
    "an id with a control character": ({"request": {"q": "x", "user id": {"$oid": "a\nb"}}}, "user_id", REFUSED),
    "a quoted name with a quotation mark": ({}, "tag", "red"),
    "an index beyond the list": ({"it's": ["x"]}, "tag", None),
    "an index into an object": ({"it's": {"1": "x"}}, "tag", None),
    "a name with a point below two indexes": ({}, "deep", 5),
    "the point is not a step": ({"lists": [[0, {"c": {"d": 6}}]]}, "deep", None),
    "no required number": ({"product_id": None}, "product_id", REFUSED),
    "negative": ({"product_id": -12}, "product_id", -12),
    "smallest of 64 bits": ({"product_id": -(2**63)}, "product_id", -(2**63)),
    "below 64 bits": ({"product_id": -(2**63) - 1}, "product_id", REFUSED),
    "largest of 64 bits": ({"product_id": 2**63 - 1}, "product_id", 2**63 - 1),
    "beyond 64 bits": ({"product_id": 2**63}, "product_id", REFUSED),
    "a whole number with a point": ({"product_id": Raw("7.0")}, "product_id", REFUSED),
    "a whole number with an exponent": ({"product_id": Raw("7e0")}, "product_id", REFUSED),
    "a whole number as a text": ({"product_id": "7"}, "product_id", REFUSED),
    "minus zero": ({"product_id": Raw("-0")}, "product_id", 0),
    "at the minimum": ({"rank": -5}, "rank", -5),
    "below the minimum": ({"rank": -6}, "rank", REFUSED),
    "at a maximum that no double is": ({"rank": 10**17 + 1}, "rank", 10**17 + 1),
    "above a maximum that no double is": ({"rank": 10**17 + 2}, "rank", REFUSED),
    "a fraction at its minimum": ({"dwell": 0.5}, "dwell", 0.5),
    "a fraction below its minimum": ({"dwell": Raw("0.4999999999999999")}, "dwell", REFUSED),
    "a fraction above its maximum": ({"dwell": Raw("1.1e300")}, "dwell", REFUSED),
    "a whole number as a fraction": ({"score": 7}, "score", 7.0),
    "38 digits as a fraction": ({"score": 10**37 + 1}, "score", 1e37),
    "50 digits as a fraction": ({"score": 10**49}, "score", 1e49),
    "a tiny number": ({"score": Raw("1e-400")}, "score", 0.0),
    "1e400": ({"score": Raw("1e400")}, "score", REFUSED),
    "NaN as a text": ({"score": "NaN"}, "score", REFUSED),
    "a truth value as a number": ({"score": True}, "score", REFUSED),
    "false": ({"clicked": False}, "clicked", False),
    "0 as a truth value": ({"clicked": 0}, "clicked", REFUSED),
    "a truth value as a text": ({"clicked": "true"}, "clicked", REFUSED),
    "a leap day": ({"day": "2024-02-29"}, "day", date(2024, 2, 29)),
    "no leap day": ({"day": "2026-02-29"}, "day", REFUSED),
    "an early day": ({"day": "0001-01-01"}, "day", date(1, 1, 1)),
    "year 0": ({"day": "0000-01-01"}, "day", REFUSED),
    "a time as a day": ({"day": "2026-02-28T00:00:00Z"}, "day", REFUSED),
    "a day with a line break": ({"day": "2026-02-28\n"}, "day", REFUSED),
    "digits of Arabic": ({"day": "٢٠٢٦-02-28"}, "day", REFUSED),
    "a number as a day": ({"day": 20260228}, "day", REFUSED),
    "a plan's time": ({}, "expires", datetime(2026, 12, 31, tzinfo=UTC)),
    "a plan beyond the years": ({"expires": "2200-01-01T00:00:00Z"}, "expires", REFUSED),
    "an odd pattern": ({"code": 'it\'s "42" \\ ${x}'}, "code", 'it\'s "42" \\ ${x}'),
    "a dollar sign that is repeated": ({"code": "$$"}, "code", "$$"),
    "of an alternative": ({"code": "b c"}, "code", "b c"),
    "begins like an alternative": ({"code": "ab"}, "code", REFUSED),
    "a line break behind a pattern": ({"code": "a\n"}, "code", REFUSED),
    "a column called as a word of SQL": ({"order": "asc"}, "order", REFUSED),
    "an object": ({}, "facts", '{"a":[null,"x"],"b":1}'),
    "a list as an object": ({"facts": []}, "facts", REFUSED),
    "a text as an object": ({"facts": "{}"}, "facts", REFUSED),
    "an infinite number in an object": ({"facts": Raw('{"a":1e400}')}, "facts", REFUSED),
    "a whole number as a part of the id": ({"part": Raw("3.0")}, "part", "3"),
    "no part of the id": ({"part": None}, "part", REFUSED),
    "an empty part of the id": ({"search_id": ""}, "search_id", REFUSED),
}  # fmt: skip

ABOUT = datetime(2026, 3, 1, 9, 8, 7, 654321, tzinfo=UTC)
NOT_ONE = REFUSED
TIMES: dict[tuple[str | None, str | None], dict[str, tuple[Any, Any]]] = {
    (None, None): {
        "with an offset": ("2026-03-01T11:38:07.654321+02:30", ABOUT),
        "nine digits": ("2026-03-01 09:08:07.654321999Z", ABOUT),
        "without a zone": ("2026-03-01T09:08:07.654321", ABOUT),
        "a number without a unit": (1772356087, NOT_ONE),
        "too far ahead": ("2026-03-03T10:11:12.131416Z", NOT_ONE),
    },
    (None, "Europe/Berlin"): {
        "local": ("2026-03-01T10:08:07.654321", ABOUT),
        "with an offset": ("2026-03-01T11:38:07.654321+02:30", ABOUT),
        "of the hour that comes twice": ("2025-10-26T02:30:00", datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
        "of the hour that is left out": ("2025-03-30T02:30:00", datetime(2025, 3, 30, 1, 30, tzinfo=UTC)),
        "before zones had whole hours": ("1900-01-02T00:00:00", datetime(1900, 1, 1, 23, 0, tzinfo=UTC)),
        "not a day": ("2025-02-30T02:30:00", NOT_ONE),
    },
    ("s", None): {
        "whole": (1772356087, datetime(2026, 3, 1, 9, 8, 7, tzinfo=UTC)),
        "a fraction": (Raw("1772356087.654321"), ABOUT),
        "more than microseconds": (Raw("1772356087.6543219999999"), ABOUT),
        "with an exponent": (Raw("1.772356087e9"), datetime(2026, 3, 1, 9, 8, 7, tzinfo=UTC)),
        "before 1970": (Raw("-0.0000001"), EPOCH - timedelta(microseconds=1)),
        "ISO": ("2026-03-01T09:08:07.654321Z", ABOUT),
        "milliseconds": (1772356087654, NOT_ONE),
        "absurd": (Raw("1e30"), NOT_ONE),
        "absurd and negative": (Raw("-1e300"), NOT_ONE),
        "infinite": (Raw("1e400"), NOT_ONE),
        "a number as a text": ("1772356087", NOT_ONE),
        "a truth value": (True, NOT_ONE),
        "ahead": (1772356087 + 86_400 * 3, NOT_ONE),
    },
    ("ms", None): {"whole": (1772356087654, datetime(2026, 3, 1, 9, 8, 7, 654000, tzinfo=UTC)), "a fraction": (Raw("1772356087654.321"), ABOUT)},
    ("us", None): {"whole": (1772356087654321, ABOUT), "a fraction": (Raw("1772356087654321.9"), ABOUT), "first of all": (-2208988800000000, datetime(1900, 1, 1, tzinfo=UTC)), "before the first": (-2208988800000001, NOT_ONE)},
    ("ns", None): {"whole": (1772356087654321999, ABOUT), "negative": (-1, EPOCH - timedelta(microseconds=1)), "20 digits": (10**19, NOT_ONE)},
}  # fmt: skip


def validated(spark, of, lines):
    """Columns and reason of lines by their place, all in one go."""
    frame = spark.createDataFrame(list(enumerate(lines)), "line bigint, value string")
    return validate_lines(frame, of.feed(), now=NOW).drop("value")


def by_place(frame):
    names = [name for name in frame.columns if name not in {"line", "reason", "variant"}]
    usable = {name: F.when(F.isnull("reason"), F.col(name)) for name in names}  # Python has no year 0
    rows = [row.asDict() for row in frame.withColumns(usable).collect()]
    return [{name: in_utc(value) for name, value in row.items()} for row in sorted(rows, key=lambda row: row["line"])]


def in_utc(value):
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def compare(found, line, of):
    """What Spark made of a line is what plain Python makes of it: the same values, or refused for the same field."""
    try:
        values = expected(line, of)
    except Refused as refused:
        [field] = [one for one in of.columns if one.name == str(refused)]
        name = ".".join(map(str, field.parts))
        assert found["reason"] is not None, line
        assert found["reason"].startswith(f"{name} "), line
        return
    assert found["reason"] is None, line
    for name, value in values.items():
        assert (found[name] if value != "object" else "object") == value, (name, line)


@pytest.fixture(scope="module")
def cases(spark):
    SOURCE.check()
    lines = [line_of(changes) for changes, _, _ in CASES.values()]
    found = by_place(validated(spark, SOURCE, lines))
    for line, row in zip(lines, found, strict=True):
        compare(row, line, SOURCE)
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_line_is_read_by_the_types_paths_and_rules_of_its_fields(cases, case):
    _, column, value = CASES[case]
    found = cases[case]

    if value is REFUSED:
        [field] = [one for one in SOURCE.columns if one.name == column]
        assert found["reason"].startswith(".".join(map(str, field.parts)))
    else:
        assert (found["reason"], found[column]) == (None, value)
        assert type(found[column]) is type(value)


TIME_CASES = [(*declared, case) for declared, lines in TIMES.items() for case in lines]


@pytest.fixture(scope="module")
def times(spark):
    frames = []
    for number, ((unit, zone), lines) in enumerate(TIMES.items()):
        of = source(time=Time("ts", unit=unit, zone=zone), fields=(FIELDS[4],))
        frame = validated(spark, of, [line_of({"ts": given}) for given, _ in lines.values()])
        frames.append(frame.select(F.lit(number).alias("variant"), "line", "ts", "reason"))
    rows = frames[0]
    for other in frames[1:]:
        rows = rows.union(other)
    found = {}
    for row in rows.collect():
        declared, lines = list(TIMES.items())[row.variant]
        found[(*declared, list(lines)[row.line])] = (in_utc(row.ts) if row.reason is None else None, row.reason)
    return found


@pytest.mark.parametrize(("unit", "zone", "case"), TIME_CASES)
def test_a_time_is_read_by_its_unit_and_its_zone(times, unit, zone, case):
    value, reason = times[unit, zone, case]
    wanted = TIMES[unit, zone][case][1]

    if wanted is REFUSED:
        assert reason.startswith("ts ")
    else:
        assert (reason, value) == (None, wanted)
    with_python = source(time=Time("ts", unit=unit, zone=zone), fields=(FIELDS[4],))
    compare({"ts": value, "reason": reason, "search_id": "s1", "part": "3", "product_id": 12},
            line_of({"ts": TIMES[unit, zone][case][0]}), with_python)  # fmt: skip


def test_a_number_in_another_unit_is_refused_for_its_year(times):
    assert "between the years 1900 and 2199" in times["s", None, "milliseconds"][1]
    assert "between the years 1900 and 2199" in times["s", None, "absurd"][1]


LINES = 400  # of a load, whose plan takes longer than they do


def any_number(random: Random) -> Raw:
    digits = random.choice((1, 3, 12, 19, 20))
    whole, fraction = random.randrange(-(10**digits), 10**digits), random.randrange(10**6)
    exponent = random.randrange(-330, 330)
    return Raw(random.choice((f"{whole}", f"{whole}.{fraction:06}", f"{whole}.0", f"{whole}.{fraction}e{exponent}")))


def any_text(random: Random) -> str:
    return "".join(random.choices("a\u00e9B7\n\t\"\\'${}\U0001f600\x85 \u2028", k=random.randrange(4)))


def any_time(random: Random) -> str:
    at = datetime(1890, 1, 1, tzinfo=UTC) + timedelta(microseconds=random.randrange(320 * 365 * 86_400 * 10**6))
    return at.isoformat().replace("+00:00", random.choice(("Z", "", "+05:30", "-18:00", " Z")))


def anything(random: Random) -> Any:
    simple: tuple[Any, ...] = (None, True, False, {}, ["x"], str(date.fromordinal(random.randrange(1, 3_000_000))))
    one = random.choice((any_number, any_text, any_time, lambda _: random.choice(simple)))
    return one(random)


def any_changes(random: Random) -> dict[str, Any]:
    """Some fields with something else; in each half of the lines only one."""
    names = [*LINE, "another"]
    changed = random.sample(names, random.choice((1, 1, 2, 3)))
    nearby = {"ts": Raw(str(random.randrange(-(2**31), 1_772_400_000))), "rank": random.randrange(-7, 7), "order": "A"}
    return {"ts": nearby["ts"]} | {name: random.choice((nearby.get(name), anything(random))) for name in changed}


@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_any_lines_are_read_as_plain_python_reads_them(spark, seed):
    random = Random(seed)
    of = source(time=Time("ts", unit="s"))
    lines = [line_of(any_changes(random)) for _ in range(LINES)]

    for line, found in zip(lines, by_place(validated(spark, of, lines)), strict=True):
        compare(found, line, of)


LIKE_ROWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"score": 7}, {"score": Raw("7.0")}),
    ({"score": Raw("-0.0")}, {"score": 0}),
    ({"code": None}, {"code": None, "another": 1}),
    ({"ts": "2026-03-01T10:08:07.654321+01:00"}, {}),
]
UNLIKE_ROWS: list[dict[str, Any]] = [
    {"ts": "2026-03-01T09:08:07.654322Z"},
    {"score": None},
    {"score": 0.25000001},
    {"code": "b c"},
    {"order": "DESC"},
    {"rank": None, "product_id": 2},
    {"clicked": None},
]


def test_rows_without_ids_are_one_event_where_they_say_the_same(spark):
    of = source(id=None)
    wider = source(id=None, fields=(Field("device", Type.STRING), *FIELDS))
    pairs = [line_of(one) for pair in LIKE_ROWS for one in pair]

    alike = [row["row_id"] for row in by_place(validated(spark, of, pairs))]
    apart = [row["row_id"] for row in by_place(validated(spark, of, [line_of(one) for one in [{}, *UNLIKE_ROWS]]))]
    later = [row["row_id"] for row in by_place(validated(spark, wider, pairs))]

    assert alike[::2] == alike[1::2]
    assert len(set(apart)) == len(apart)
    assert later == alike


def test_a_whole_number_is_an_id_of_its_own_type(spark):
    of = source(id="search_id", fields=(Field("search_id", Type.INT64), *FIELDS))
    lines = [line_of({"search_id": one}) for one in (7, "7", Raw("7.5"), 2**63)]

    found = [(row["search_id"], row["reason"]) for row in by_place(validated(spark, of, lines))]

    assert found == [(7, None), *[(None, "search_id is not a whole number")] * 3]


@pytest.mark.parametrize(
    ("of", "name"),
    [
        (source(fields=(Field("code", Type.STRING, pattern="(?P<a>x)"),)), "'code'"),
        (source(time=Time("ts", zone="Factory")), "'ts'"),
    ],
)
def test_what_python_reads_and_java_does_not_is_refused_by_name_before_a_load(spark, of, name):
    of.check()

    with pytest.raises(DefinitionError, match=rf"'searches'.*{name}"):
        check_rules(spark, of.feed())
