"""One rule for keys that are numbers or dates: every value through every entrance, with the same text or a refusal."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import jsonschema_rs
import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers import Answer, to_feast
from serving.client import EntityWrite, request_body, write_body
from serving.common.request import BadRequest, Planner, parse_request
from serving.openapi import described
from serving.write.body import parse_body, values_of
from sinks.direct import DirectError, Target
from tailrace.definitions import DIRECT, Definitions, Entity, Feature, FeatureView, Type
from tailrace.errors import CommandError
from tailrace.schemas.ids import NotAnIdError, WrittenNumber, key_of_text, key_text
from tailrace.store.address import Address
from tailrace.store.direct.log import Intent
from tailrace.store.direct.replay import fits
from tailrace.store.keys import ids_of, item_keys
from tailrace.workspace.lookup import key_texts

ENTITIES = {
    Type.STRING: Entity("label", key="label_id"),
    Type.INT64: Entity("product", key="product_id", type=Type.INT64),
    Type.DATE: Entity("day", key="day", type=Type.DATE),
}
# JSON as it is written, and the text of the key or None.
NUMBERS = {
    "7": "7",
    "-7": "-7",
    "0": "0",
    "-0": "0",
    "7.0": "7",
    "-0.0": "0",
    '"7"': "7",
    '"-7"': "-7",
    '"0"': "0",
    "9223372036854775807": "9223372036854775807",
    "-9223372036854775808": "-9223372036854775808",
    '"-9223372036854775808"': "-9223372036854775808",
    "9223372036854775807.0": "9223372036854775807",
    **dict.fromkeys(("9223372036854775808", "-9223372036854775809", '"9223372036854775808"', "1.5", "1e3", "true")),
    **dict.fromkeys(('"007"', '"+7"', '"-0"', '"7.0"', '" 7"', '"7\\n"', '""', '"\\u0667"', '"1_000"', '"1e3"', '"x"')),
    **dict.fromkeys(('"' + "9" * 5_000 + '"', "[]", "{}", '"2026-03-02"')),
}
DATES = {
    '"2026-03-02"': "2026-03-02",
    '"0001-01-01"': "0001-01-01",
    '"9999-12-31"': "9999-12-31",
    '"2024-02-29"': "2024-02-29",
    **dict.fromkeys(('"2026-02-29"', '"0000-01-01"', '"2026-3-2"', '"20260302"', '"2026-W10-1"', '"02.03.2026"')),
    **dict.fromkeys(
        ('"2026-03-02T00:00:00Z"', '" 2026-03-02"', '"+2026-03-02"', '"10000-01-01"', '""', '"\\u0662026-03-02"')
    ),
    **dict.fromkeys(("20260302", "0", "1.5", "false", "{}")),
}
CASES = [(Type.INT64, case) for case in NUMBERS] + [(Type.DATE, case) for case in DATES]
EXPECTED = {Type.INT64: NUMBERS, Type.DATE: DATES}


def view_of(type_):
    return FeatureView(
        name="relevance",
        entities=(ENTITIES[type_],),
        owner="tests",
        description="What a model thinks.",
        freshness=timedelta(days=1),
        lane=DIRECT,
        written_features=(Feature("score", Type.FLOAT64, "how relevant"),),
    )


def definitions_of(type_):
    return Definitions(views={"relevance": view_of(type_)}, on_demand={}, services={})


def asked(type_, ids):
    """The texts that a reader looks up; raises `BadRequest`."""
    body = f'{{"features": ["relevance"], "entities": {{"{ENTITIES[type_].key}": {ids}}}}}'
    request = parse_request(body.encode())
    Planner(definitions_of(type_)).plan(request)
    return request.ids[ENTITIES[type_].key]


def written(type_, case):
    """The text that the write endpoint takes; None where it refuses the entity by its key."""
    entity = f'{{"keys": {{"{ENTITIES[type_].key}": {case}}}, "values": {{"score": 0.5}}}}'
    body = parse_body(f'{{"view": "relevance", "entities": [{entity}]}}'.encode())
    [value] = values_of(body, view_of(type_), now=1)
    return None if isinstance(value, BadRequest) else value.keys[ENTITIES[type_].key]


@pytest.mark.parametrize(("type_", "case"), CASES)
def test_a_key_has_one_text_by_every_entrance(type_, case):
    expected, value = EXPECTED[type_][case], json.loads(case, parse_float=WrittenNumber)
    intent = Intent(
        number=1,
        view="relevance",
        keys={ENTITIES[type_].key: value if isinstance(value, str) else "x"},
        occurred_at=1,
        revision=1,
        values=None,
        accepted_at=1,
    )

    assert written(type_, case) == expected
    assert fits(intent, view_of(type_)) == (isinstance(value, str) and expected is not None)
    if expected is None:
        with pytest.raises(NotAnIdError):
            key_text(value, type_)
        for form in ("{}", "[{}]"):
            if form.format(case) != "[]":  # of no rows, which nothing is wrong with
                with pytest.raises(BadRequest, match=ENTITIES[type_].key):
                    asked(type_, form.format(case))
        return
    assert key_text(value, type_) == expected
    assert (asked(type_, case), asked(type_, f"[{case}]")) == ([expected], [expected])
    assert key_texts(view_of(type_), [value]) == {ENTITIES[type_].key: expected}


def test_a_refusal_names_entity_key_place_and_value():
    with pytest.raises(BadRequest, match=r"'product_id' of product, id 1 is '007', which is not a whole number"):
        asked(Type.INT64, '[7, "007"]')
    with pytest.raises(CommandError, match=r"view relevance, key product_id of product: '007' is not a whole number"):
        key_texts(view_of(Type.INT64), ["007"])
    with pytest.raises(CommandError, match=r"key day of day: '2026-02-30' is not a date"):
        key_texts(view_of(Type.DATE), ["2026-02-30"])


def test_keys_that_are_texts_stay_as_they_are():
    assert asked(Type.STRING, '["007", 7, " ", ""]') == ["007", "7", " ", ""]
    assert (
        not Planner(definitions_of(Type.STRING))
        .plan(parse_request(b'{"features": ["relevance"], "entities": {"label_id": "x"}}'))
        .typed
    )


@given(st.integers(-(2**63), 2**63 - 1) | st.dates())
def test_a_key_is_what_its_text_stands_for(key):
    type_ = Type.DATE if isinstance(key, date) else Type.INT64
    text = key_text(key, type_)

    assert key_of_text(text, type_) == key
    assert ids_of(item_keys({"e": "k"}, {"k": [text]})[0]) == {"e": text}
    assert key_texts(view_of(type_), [key]) == {ENTITIES[type_].key: text}


def columns_of_spark(type_):
    """Columns of Arrow as Spark hands them over, and the texts of their keys or None."""
    if type_ is Type.DATE:
        return [(pa.array([date(2026, 3, 2)]), "2026-03-02"), (pa.array([datetime(2026, 3, 2, tzinfo=UTC)]), None)]
    whole, long = pa.decimal128(38, 0), pa.decimal128(38, 2)
    return [
        (pa.array([-7]), "-7"),
        (pa.array([7], pa.int8()), "7"),
        (pa.array([7.0]), "7"),
        (pa.array([0.5]), None),
        (pa.array([Decimal(2**63 - 1)], whole), "9223372036854775807"),
        (pa.array([Decimal(2**63)], whole), None),
        (pa.array([Decimal("7.00")], long), "7"),
        (pa.array([Decimal("7.01")], long), None),
    ]


@pytest.mark.parametrize("type_", [Type.INT64, Type.DATE])
def test_the_spark_source_keeps_the_rule(type_):
    nowhere = Address(url="", region="", table="", in_flight=1, writes="updates", lease_seconds=1)
    target = Target(address=nowhere, view=view_of(type_), landing="", as_of=1)
    key = ENTITIES[type_].key
    for column, expected in columns_of_spark(type_):
        batch = pa.record_batch({key: column, "score": [0.5]})
        if expected is None:
            with pytest.raises(DirectError, match=key):
                list(target.intents(batch, revision=1))
        else:
            assert [one.keys for one in target.intents(batch, revision=1)] == [{key: expected}]


def keys_in_feasts_answer(type_, ids):
    """The keys that an answer without features gives back."""
    body = {"features": ["relevance"], "entities": {ENTITIES[type_].key: ids}}
    request = parse_request(orjson.dumps(body))
    plan = replace(Planner(definitions_of(type_)).plan(request), references=(), names=())
    steps = to_feast(Answer(asked=request, plan=plan, columns={}, views={}))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return orjson.loads(end.value)["results"][0]["values"]


def test_answers_give_keys_back_as_their_types_have_them():
    assert keys_in_feasts_answer(Type.INT64, ["7", -7, 2**63 - 1]) == [7, -7, 2**63 - 1]
    assert keys_in_feasts_answer(Type.INT64, "7") == [7]
    assert keys_in_feasts_answer(Type.DATE, ["2026-03-02", "0001-01-01"]) == ["2026-03-02", "0001-01-01"]
    assert keys_in_feasts_answer(Type.STRING, ["7", 7, "007"]) == ["7", "7", "007"]


def test_the_client_sends_numbers_and_dates():
    days = np.array(["2026-03-02"], "M8[D]")
    cases: list[tuple[Any, Any]] = [
        (7, 7),
        (date(2026, 3, 2), "2026-03-02"),
        ([date(2026, 3, 2)], ["2026-03-02"]),
        (days, ["2026-03-02"]),
        (np.array([7]), [7]),
        (("a", "b"), ["a", "b"]),
    ]
    for ids, sent in cases:
        assert orjson.loads(request_body(["f"], {"entities": {"k": ids}}))["entities"] == {"k": sent}
    entity: EntityWrite = {"keys": {"product_id": 7, "day": date(2026, 3, 2)}, "removed": True}
    assert orjson.loads(write_body("v", [entity]))["entities"][0]["keys"] == {"product_id": 7, "day": "2026-03-02"}


# What JSON schemas do not say: how a number is written, the greatest one as text, and that there is no year 0.
UNSAID = ('"9223372036854775808"', "9223372036854775807.0", "1e3", '"0000-01-01"', '"7\\n"')


@pytest.mark.parametrize("type_", [Type.INT64, Type.DATE])
def test_the_description_says_what_a_key_is(type_):
    key, paths = ENTITIES[type_].key, described(definitions_of(type_))["paths"]
    read, write = (
        jsonschema_rs.validator_for(
            paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"], validate_formats=True
        )
        for path in ("/get-online-features", "/v1/write")
    )
    for case in (one for one in EXPECTED[type_] if one not in UNSAID and one != "[]"):
        value = json.loads(case)
        asked_for = {"features": ["relevance"], "entities": {key: value}}
        entity = {"keys": {key: value}, "values": {"score": 0.5}}
        found = read.is_valid(asked_for), write.is_valid({"view": "relevance", "entities": [entity]})
        assert found == (EXPECTED[type_][case] is not None,) * 2, case
