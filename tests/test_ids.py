"""One rule for ids: every value through every entrance, with the same id or the same refusal."""

import json
import random
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from jobs.bronze.lines import validate_lines
from jobs.streaming.fast_path import FAR, plain_event
from serving.common.request import BadRequest, parse_request
from serving.write.body import parse_body, values_of
from sinks.direct import DirectError, Target
from tailrace.definitions import DIRECT, Feature, FeatureView, Type
from tailrace.schemas import ids
from tailrace.schemas.ids import NotAnIdError, WrittenNumber, id_of
from tailrace.shipped.entities import DOCUMENT
from tailrace.store.address import Address
from tests import feeds
from tests.jobs.bronze.events_to_judge import event

# JSON as it is written, and the id that it stands for or why it is none.
TAKEN = {
    '"d1"': "d1",
    '"007"': "007",
    '"7.0"': "7.0",
    '"1e3"': "1e3",
    '" d1 "': " d1 ",
    '"null"': "null",
    '"\\u2028\\u200b"': "\u2028\u200b",
    '"\\ud83d\\ude00"': "😀",
    f'"{"x" * 1000}"': "x" * 1000,
    f'"{"é" * 500}"': "é" * 500,
    "7": "7",
    "-7": "-7",
    "0": "0",
    "-0": "0",
    "-0.0": "0",
    "1.0": "1",
    "10.00": "10",
    "101.0": "101",
    "9007199254740993": "9007199254740993",
    "9007199254740993.0": "9007199254740993",
    "9223372036854775807": "9223372036854775807",
    "-9223372036854775808": "-9223372036854775808",
    "9223372036854775808": "9223372036854775808",
    "18446744073709551615": "18446744073709551615",
    "18446744073709551615.0": "18446744073709551615",
    "1." + "0" * 37: "1",
}
REFUSED = {
    '""': ids.EMPTY,
    f'"{"x" * 1001}"': ids.TOO_LONG,
    f'"{"é" * 501}"': ids.TOO_LONG,
    '"' + "\\u0000" * 1001 + '"': ids.TOO_LONG,
    **{f'"d\\u{code:04x}x"': ids.HAS_CONTROL for code in (0, 9, 10, 13, 31, 127, 128, 159)},
    **dict.fromkeys(
        ("1.5", "1e3", "1E3", "1.0e0", "0.5", "-0e0", "1e400", "1.00000000000000000000000001"), ids.NOT_TEXT
    ),
    **dict.fromkeys(("18446744073709551616", "-9223372036854775809", "9" * 38, "9" * 39, "9" * 400), ids.NOT_TEXT),
    **dict.fromkeys(("1." + "0" * 38, "18446744073709551616.0"), ids.NOT_TEXT),
    **dict.fromkeys(("true", "false", "[]", '["d1"]', "{}"), ids.NOT_TEXT),
}
NOT_JSON = ("007", "+7", ".5", "7.", "0x1f", "NaN", "'d1'", '"\\ud800"', '"\\udc00\\ud800"')
CASES = [*TAKEN, *REFUSED, *NOT_JSON]


def siblings(count):
    """Numbers and texts that are in no list."""
    seed = random.randrange(10**6)
    choose = random.Random(seed)
    for _ in range(count):
        digits = str(choose.randrange(10 ** choose.choice([1, 3, 18, 19, 20, 21, 38, 39])))
        zeros = "0" * choose.choice([0, 1, 2, 20, 37, 39])
        point = choose.choice(["", "", f".{zeros}0", f".{zeros}{choose.randrange(100)}"])
        yield choose.choice(["", "-"]) + digits + point + choose.choice(["", "", "", "e0", "E+2", "e-1"])
        text = "".join(chr(choose.choice([choose.randrange(0xA5), choose.randrange(0xD800)])) for _ in range(3))
        yield json.dumps(text * choose.choice([1, 1, 1, 120, 400]), ensure_ascii=choose.random() < 0.5)


SIBLINGS = list(siblings(400))


def expected(case):
    """The id, or None."""
    return by_rule(case) if case in SIBLINGS else TAKEN.get(case)


def by_rule(case):
    try:
        return id_of(json.loads(case, parse_float=WrittenNumber))
    except NotAnIdError:
        return None


@pytest.fixture(scope="module")
def judged(spark):
    """By case the id that bronze takes and its reason against it, all of one frame."""
    lines = [event(document_id="RAW").replace(b'"RAW"', case.encode()) for case in (*CASES, *SIBLINGS)]
    frame = spark.createDataFrame(list(enumerate(lines)), "place bigint, bytes binary")
    frame = frame.select("place", F.col("bytes").cast("string").alias("value"))
    rows = validate_lines(frame, feeds.EVENTS, now=FAR).select("place", "document_id", "reason").collect()
    cases = [*CASES, *SIBLINGS]
    return {cases[row.place]: (None if row.reason else row.document_id, row.reason) for row in rows}


@pytest.mark.parametrize("case", TAKEN)
def test_an_id_is_kept_as_its_text_or_its_digits(case):
    assert by_rule(case) == TAKEN[case]


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_no_id_is_refused_with_its_reason(case):
    with pytest.raises(NotAnIdError) as refusal:
        id_of(json.loads(case, parse_float=WrittenNumber))

    assert str(refusal.value) == REFUSED[case]


def test_half_a_surrogate_pair_is_no_id():
    with pytest.raises(NotAnIdError, match=ids.NOT_UNICODE):
        id_of("d\ud800")


@pytest.mark.parametrize("case", CASES)
def test_landing_keeps_the_rule(judged, case):
    found, reason = judged[case]

    assert found == TAKEN.get(case)
    if case in REFUSED:
        assert reason == f"document_id {REFUSED[case]}" or (case in BEYOND_JSON and reason)


# Numbers that no double holds, which Spark's parser refuses with their line.
BEYOND_JSON = ("1e400", "9" * 400)


def test_landing_keeps_the_rule_for_siblings(judged):
    assert {case: judged[case][0] for case in SIBLINGS} == {case: by_rule(case) for case in SIBLINGS}


@pytest.mark.parametrize("cases", [CASES, SIBLINGS], ids=["cases", "siblings"])
def test_the_streams_fast_path_takes_no_other_id(cases):
    found = {
        case: plain_event(event(document_id="RAW").replace(b'"RAW"', case.encode()), feeds.EVENTS) for case in cases
    }

    assert {case: facts["document_id"] for case, facts in found.items() if facts} == {
        case: expected(case) for case, facts in found.items() if facts
    }
    assert any(found.values())


def asked(ids_):
    body = f'{{"features": ["view:feature"], "entities": {{"document_id": {ids_}}}}}'
    return parse_request(body.encode()).ids["document_id"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", ["{}", "[{}]", '["d0", {}]'], ids=["one", "list", "among others"])
def test_a_reader_looks_for_what_landing_took(case, form):
    if case in TAKEN or REFUSED.get(case) in (
        ids.EMPTY,
        ids.TOO_LONG,
        ids.HAS_CONTROL,
    ):  # which are nowhere to be found
        assert asked(form.format(case))[-1] == TAKEN.get(case, json.loads(case))
        return
    if case == '["d1"]' and form == "{}":
        return  # a list of one
    if case == "[]" and form == "{}":
        return
    with pytest.raises(BadRequest, match=r"document_id|is not JSON"):
        asked(form.format(case))


def test_a_reader_looks_for_siblings_as_landing_took_them():
    for case in SIBLINGS:
        if by_rule(case) is not None:
            assert asked(f"[{case}]") == [by_rule(case)]


RELEVANCE = FeatureView(
    name="relevance",
    entities=(DOCUMENT,),
    owner="tests",
    description="What a model thinks of a document.",
    freshness=timedelta(days=1),
    lane=DIRECT,
    written_features=(Feature("score", Type.FLOAT64, "how relevant"),),
)


def written(case):
    """The id that the write endpoint takes; None where it refuses the entity by its key."""
    entity = f'{{"keys": {{"document_id": {case}}}, "values": {{"score": 0.5}}}}'
    try:
        body = parse_body(f'{{"view": "relevance", "entities": [{entity}]}}'.encode())
    except BadRequest:
        return None
    [value] = values_of(body, RELEVANCE, now=1)
    return None if isinstance(value, BadRequest) else value.keys["document_id"]


@pytest.mark.parametrize("cases", [CASES, SIBLINGS], ids=["cases", "siblings"])
def test_direct_writes_keep_the_rule(cases):
    assert {case: written(case) for case in cases} == {case: expected(case) for case in cases}


def columns_of(case):
    """Columns of Arrow that hold a case's value, as Spark hands it over; they know of no exponents."""
    value = json.loads(case, parse_float=Decimal)
    if isinstance(value, list | dict) or (isinstance(value, Decimal) and "e" in case.lower()):
        return
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        value = Decimal(value)
    if not isinstance(value, Decimal):
        yield pa.array([value])
        return
    digits, scale = len(value.as_tuple().digits), len(case.partition(".")[2])
    if digits <= 38 and scale <= 38:
        yield pa.array([value], pa.decimal128(38, scale))
        if Decimal(float(value)) == value and abs(value) < 2**53:
            yield pa.array([float(value)])


NOWHERE = Address(url="", region="", table="", in_flight=1, writes="updates", lease_seconds=1)


def spark_writes(column):
    batch = pa.record_batch({"document_id": column, "score": [0.5]})
    target = Target(address=NOWHERE, view=RELEVANCE, landing="", as_of=1)
    try:
        [intent] = target.intents(batch, revision=1)
    except DirectError:
        return None
    return intent.keys["document_id"]


@pytest.mark.parametrize("cases", [CASES, SIBLINGS], ids=["cases", "siblings"])
def test_the_spark_source_keeps_the_rule(cases):
    found = [(case, spark_writes(column)) for case in cases if case not in NOT_JSON for column in columns_of(case)]

    assert found == [(case, expected(case)) for case, _ in found]
    assert len(found) > len(cases) / 2


def test_a_double_column_stands_for_whole_numbers_that_it_holds_exactly():
    assert [spark_writes(pa.array([number])) for number in (1e7, 2.0**52, 2.0**53, 0.5)] == [
        "10000000",
        str(2**52),
        None,
        None,
    ]
