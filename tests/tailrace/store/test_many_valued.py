"""Vectors, lists, FLOAT32 and days: packed, decoded, written, answered and described, and what is refused of them."""

import json
import pickle
import struct
from datetime import date

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.answers import OPTIONS, nullable, to_arrow
from serving.openapi import of_feature
from serving.read.columns import compute_on_demand, decoded, fanned_out, nothing_found, stacked
from sinks.data_source import fits, spark_type
from tailrace.definitions import DATE, FLOAT32, FLOAT64, INT64, STRING, DefinitionError, List, OnDemandFeature, Vector
from tailrace.errors import DataError
from tailrace.schemas.tables import Column, Type, elements_hold
from tailrace.store.arrow import arrow_type, column_values
from tailrace.store.codec import Codec, CodecError, ColumnValues, payload
from tailrace.store.direct.values import ValueProblem, checked, pack
from tailrace.store.dynamodb.control_item import schema_from, schema_text
from tailrace.store.tails import decode_texts, encode_texts

VECTOR, TAGS, SIZES, PRICES = Vector(3), List(STRING, at_most=3), List(INT64, at_most=3), List(FLOAT64, at_most=3)
FEATURES = tuple(
    Column(name, type_, "")
    for name, type_ in (
        ("clicks", INT64),
        ("embedding", VECTOR),
        ("tags", TAGS),
        ("title", STRING),
        ("share", FLOAT32),
        ("sizes", SIZES),
        ("prices", PRICES),
        ("other", VECTOR),
        ("day", DATE),
    )
)
DAY = date(2026, 1, 31)
ROW = {
    "clicks": 7,
    "embedding": [0.5, -1.0, 1024.5],
    "tags": ["", "漢", "a\0b"],
    "title": "ß",
    "share": 0.25,
    "sizes": [-(2**63), 2**63 - 1],
    "prices": [0.1, 5e-324],
    "other": [1.0, 2.0, 3.0],
    "day": DAY,
}
EMPTY = ROW | {"tags": [], "sizes": [], "prices": []}
NOTHING = dict.fromkeys(ROW)
CODEC = Codec("products", FEATURES)
FINITE_32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
VALUES = {
    "clicks": st.integers(-(2**63), 2**63 - 1),
    "embedding": st.lists(FINITE_32, min_size=3, max_size=3),
    "tags": st.lists(TEXT, max_size=3),
    "title": TEXT,
    "share": FINITE_32,
    "sizes": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    "prices": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    "other": st.lists(FINITE_32, min_size=3, max_size=3),
    "day": st.dates(),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | of for name, of in VALUES.items()}), min_size=1, max_size=5)


def arrays_of(rows):
    """What Spark hands over: lists of any length for vectors, too."""
    types = {one.name: arrow_type(one.type) for one in FEATURES} | dict.fromkeys(
        ("embedding", "other"), pa.list_(pa.float32())
    )
    return [pa.array([row[one.name] for row in rows], types[one.name]) for one in FEATURES]


def encoded(rows):
    return CODEC.encode(
        [column_values(array, one) for array, one in zip(arrays_of(rows), FEATURES, strict=True)], as_of=9
    )


def plain(columns):
    """The rows again, as Python has them."""
    lists = [
        [value if valid else None for value, valid in zip(one.values.tolist(), one.valid.tolist(), strict=True)]
        for one in columns
    ]
    return [dict(zip(ROW, row, strict=True)) for row in zip(*lists, strict=True)]


@given(ROWS)
def test_what_is_packed_comes_back(rows):
    found = plain(decoded(CODEC, encoded(rows), FEATURES))

    assert found == rows
    assert [payload(one) for one in encoded(found)] == [payload(one) for one in encoded(rows)]


def test_a_value_is_in_layout_2_only_where_a_type_needs_it():
    old = Codec("products", [Column("clicks", INT64, ""), Column("title", STRING, "")])
    columns = [ColumnValues(np.array([7]), np.array([True])), ColumnValues(np.array(["ß"], "O"), np.array([True]))]

    assert old.encode(columns, as_of=9)[0][2] == 1
    assert encoded([ROW])[0][2] == 2


def test_vectors_are_one_matrix_and_equal_vectors_have_equal_bytes():
    values = encoded([ROW, NOTHING, ROW | {"embedding": [0.0, 0.0, 0.0]}, ROW | {"embedding": [-0.0, -0.0, 0.0]}])

    matrix = decoded(CODEC, values, FEATURES)[1].values

    assert (matrix.shape, str(matrix.dtype), matrix.flags.c_contiguous) == ((4, 3), "float32", True)
    assert values[2] == values[3]


def test_rows_without_a_value_are_null_and_lists_without_elements_are_not():
    columns = decoded(CODEC, encoded([ROW, NOTHING, EMPTY]), FEATURES)

    assert plain(columns) == [ROW, NOTHING, EMPTY]
    assert plain(fanned_out(columns, np.array([2, 0, 1, -1]))) == [EMPTY, ROW, NOTHING, NOTHING]
    assert plain(stacked([columns, columns])) == 2 * [ROW, NOTHING, EMPTY]
    assert [len(nothing_found(one.type, 2).values) for one in FEATURES] == [2] * len(FEATURES)


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_value_that_is_cut_off_is_refused(cut):
    [value] = encoded([ROW])
    shorter = bytearray(value[:-cut])
    shorter[4:8] = struct.pack("<I", len(shorter))  # as if it had been written so

    with pytest.raises(CodecError, match="products"):
        CODEC.decode([bytes(shorter)])


@given(st.binary(max_size=24))
def test_bytes_that_are_no_list_of_texts_are_refused_and_others_come_back(data):
    try:
        texts = decode_texts(data)
    except ValueError:  # of which a text that is not UTF-8 is one
        return
    assert decode_texts(encode_texts(texts)) == texts
    assert not data or encode_texts(texts) == data


@pytest.mark.parametrize(
    ("feature", "value", "why"),
    [
        ("embedding", [1.0, 2.0], "'embedding': a value has 2 numbers, and is a vector of 3"),
        ("embedding", [1.0, None, 2.0], "'embedding': a value has null among its elements"),
        ("tags", ["a", None], "'tags': a value has null among its elements"),
    ],
)
def test_rows_of_spark_that_do_not_fit_are_refused_by_name(feature, value, why):
    with pytest.raises(DataError, match=why):
        encoded([ROW, NOTHING, ROW | {feature: value}])


def as_json(row):
    return row | {"day": row["day"].isoformat()}


def test_written_values_are_packed_as_those_of_spark_are():
    rows = [checked(as_json(row), FEATURES) for row in (ROW, EMPTY)]

    assert pack(CODEC, [*rows, NOTHING], occurred_at=[9, 9, 9]) == encoded([ROW, EMPTY, NOTHING])


@pytest.mark.parametrize(
    ("feature", "value", "why"),
    [
        ("embedding", [1, 2], "it is a list of 3 numbers"),
        ("embedding", [1, 2, "3"], "it is a list of 3 numbers"),
        ("embedding", [1, 2, True], "it is a list of 3 numbers"),
        ("embedding", [1, 2, 1e39], "it is a list of 3 numbers"),
        ("embedding", [1, 2, float("nan")], "it is a list of 3 numbers"),
        ("embedding", "abc", "it is a list of 3 numbers"),
        ("share", 1e39, "it is a number"),
        ("tags", ["a", None], "it is a list, each a text"),
        ("tags", list("abcd"), "has 4 elements; it may have 3"),
        ("tags", ["x" * 5_000], "has 5,000 bytes of UTF-8; it may have 4,096"),
        ("sizes", [2**63], "it is a list, each a whole number"),
        ("sizes", [1.5], "it is a list, each a whole number"),
        ("day", "2026-02-30", "it is a date such as 2026-01-31"),
        ("day", "2026-01-31T00:00:00Z", "it is a date such as 2026-01-31"),
    ],
)
def test_a_written_value_that_does_not_fit_is_refused_by_name(feature, value, why):
    with pytest.raises(ValueProblem, match=f"feature '{feature}' .*{why}"):
        checked(as_json(ROW) | {feature: value}, FEATURES)


def test_values_of_another_type_in_an_old_log_are_null():
    [value] = pack(CODEC, [{"embedding": [1.0], "tags": "a", "day": 5, "clicks": 1}], occurred_at=[9])

    assert plain(decoded(CODEC, [value], FEATURES)) == [NOTHING | {"clicks": 1}]


def test_answers_have_lists_as_json_and_as_arrow_without_pandas():
    columns = decoded(CODEC, encoded([ROW, NOTHING, EMPTY]), FEATURES)

    shown = json.loads(orjson.dumps([nullable(one) for one in columns], option=OPTIONS))
    arrays = [to_arrow(arrow_type(one.type), one.values, one.valid) for one in columns]

    expected = [as_json(ROW), NOTHING, as_json(EMPTY)]
    assert [dict(zip(ROW, row, strict=True)) for row in zip(*shown, strict=True)] == expected
    assert [dict(zip(ROW, row, strict=True)) for row in zip(*(one.to_pylist() for one in arrays), strict=True)] == [
        ROW,
        NOTHING,
        EMPTY,
    ]
    assert arrays[1].type == pa.list_(pa.float32(), 3)
    for array in arrays:
        array.validate(full=True)


def test_a_column_in_which_nothing_is_null_is_written_as_it_is():
    columns = decoded(CODEC, encoded([ROW, EMPTY]), FEATURES)

    assert nullable(columns[1]) is columns[1].values
    assert json.loads(orjson.dumps([nullable(one) for one in columns], option=OPTIONS))[1][0] == [0.5, -1.0, 1024.5]


def similarity(one, other):
    return (one * other).sum(axis=1)


def test_features_computed_on_demand_take_vectors_and_give_them():
    columns = dict(
        zip(ROW, decoded(CODEC, encoded([ROW, NOTHING, ROW | {"embedding": [1, 0, 0]}]), FEATURES), strict=True)
    )
    of = {"owner": "tests", "description": ""}

    product = OnDemandFeature(name="product", type=FLOAT64, inputs=("embedding", "other"), compute=similarity, **of)
    half = OnDemandFeature(
        name="half", type=VECTOR, inputs=("embedding",), compute=lambda one: np.where(one > 1000, np.nan, one / 2), **of
    )
    twice = OnDemandFeature(
        name="twice", type=TAGS, inputs=("tags",), compute=lambda one: [tags + tags for tags in one], **of
    )

    found = [compute_on_demand(one, columns, now=0) for one in (product, half, twice)]
    twice_tags = ["", "漢", "a\0b", "", "漢", "a\0b"]

    assert nullable(found[0])[1:] == [None, 1.0]
    assert [None if one is None else one.tolist() for one in nullable(found[1])] == [None, None, [0.5, 0.0, 0.0]]
    assert nullable(found[2]) == [twice_tags, None, twice_tags]


def test_types_are_the_same_wherever_they_come_from():
    assert Type("vector(3)") is VECTOR
    assert Type("list(string)") == TAGS
    assert [pickle.loads(pickle.dumps(one)).at_most for one in (TAGS, VECTOR)] == [3, None]
    assert [one.info.sql for one in (VECTOR, TAGS, SIZES, FLOAT32)] == [
        "array<float>",
        "array<string>",
        "array<bigint>",
        "float",
    ]
    assert [spark_type(one.type).simpleString() for one in FEATURES] == [one.type.info.sql for one in FEATURES]
    assert fits(spark_type(TAGS), spark_type(List(STRING, at_most=9)), is_key=False)
    assert (
        Codec("one", [Column("tags", TAGS, "")]).fingerprint
        == Codec("one", [Column("tags", List(STRING, at_most=9), "")]).fingerprint
    )


@pytest.mark.parametrize(
    "text", ["vector(0)", "vector(-1)", "vector()", "list(boolean)", "list(list(string))", "array<float>"]
)
def test_texts_that_name_no_type_are_refused(text):
    with pytest.raises(ValueError, match="is not a type"):
        Type(text)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Vector(0), r"Vector\(0\): give a number from 1 to 16,384"),
        (lambda: Vector(True), r"Vector\(True\)"),
        (lambda: Vector(20_000), r"Vector\(20000\)"),
        (lambda: List(Type.BOOL, at_most=3), "a list is of one of STRING, INT64, FLOAT64"),
        (lambda: List(STRING, at_most=0), r"List\(STRING, at_most=0\): give a number from 1 to 10,000"),
    ],
)
def test_declarations_that_cannot_be_are_refused(make, why):
    with pytest.raises(DefinitionError, match=why):
        make()


def test_a_control_item_has_what_a_reader_of_layout_1_understands():
    """That takes every type for one that it knows, and the schema for another than its own."""
    text = schema_text(FEATURES)

    assert {type_ for _, type_ in json.loads(text)} <= {"string", "bigint"}
    assert json.loads(text)[:2] == [["clicks", "bigint"], ["embedding vector(3)", "string"]]
    assert [(one.name, one.type) for one in schema_from(text)] == [(one.name, one.type) for one in FEATURES]


def test_the_interface_describes_lists_and_vectors():
    number = {"type": "number", "minimum": -3.4028234663852886e38, "maximum": 3.4028234663852886e38}
    described = {one.name: of_feature(one)["oneOf"][0] for one in FEATURES}

    assert described["embedding"] == {"type": "array", "items": number, "minItems": 3, "maxItems": 3}
    assert described["tags"] == {"type": "array", "items": {"type": "string", "maxLength": 4_096}, "maxItems": 3}
    assert described["day"] == {"type": "string", "format": "date"}


def test_what_a_table_promises_of_elements():
    assert [elements_hold(Column("x", one, "")) for one in (VECTOR, TAGS)] == [
        "size(`x`) = 3 AND forall(`x`, one -> coalesce(abs(one) < double('infinity'), false))",
        "size(`x`) <= 3 AND forall(`x`, one -> coalesce(one IS NOT NULL, false))",
    ]
