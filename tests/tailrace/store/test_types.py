"""The table of types: what is there keeps its spelling, and a type from outside works in store, reader and writes."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from serving.answers import nullable
from serving.openapi import of_feature
from serving.read.columns import decoded, nothing_found
from sinks.data_source import spark_type
from tailrace.schemas.tables import Column, Type
from tailrace.schemas.types import Packed, TypeInfo, feature_types
from tailrace.store.arrow import arrow_type, column_values
from tailrace.store.codec import Codec
from tailrace.store.direct.values import ValueProblem, checked, pack
from tests.tailrace.definitions.outside import INT32

FEATURES = (Column("pages", INT32, "its pages"), Column("title", Type.STRING, "its title"))
SHIPPED = {"STRING": "string", "INT64": "bigint", "FLOAT64": "double", "BOOL": "boolean", "TIMESTAMP": "timestamp"}
SECOND = {"FLOAT32": "float", "DATE": "date"}  # those of layout 2


def test_the_types_that_homes_hold_are_spelled_as_ever():
    spelled = {type_.name: str(type_) for type_ in feature_types() if type_ is not INT32}

    assert spelled == SHIPPED | SECOND
    assert {Type(text).packed.layout for text in SHIPPED.values()} == {1}
    assert [repr(Type("bigint")), repr(Type("decimal(38,6)"))] == [
        "<Type.INT64: 'bigint'>",
        "<Type.DECIMAL: 'decimal(38,6)'>",
    ]


@pytest.mark.parametrize("type_", [*feature_types(), Type.BINARY, Type.DECIMAL], ids=str)
def test_a_type_is_one_object_however_it_is_come_by(type_):
    assert Type(str(type_)) is type_
    assert getattr(Type, type_.name) is type_
    assert pickle.loads(pickle.dumps(type_)) is type_


def test_a_type_that_is_unknown_or_has_no_features_is_refused_by_name():
    with pytest.raises(ValueError, match="'tinyint' is not a type; there are string, bigint"):
        Type("tinyint")
    with pytest.raises(TypeError, match="FLOAT64"):
        Codec("view", (Column("exact", Type.DECIMAL, ""),))


def test_a_type_may_be_added_again_but_not_as_something_else():
    assert Type.add("INT32", INT32.info) is INT32
    with pytest.raises(ValueError, match="type OTHER is spelled 'int', as INT32 is already"):
        Type.add("OTHER", INT32.info)
    with pytest.raises(ValueError, match="type INT64"):
        Type.add("INT64", TypeInfo(sql="int", packed=Packed(**vars(Type.INT64.packed))))


def test_a_type_from_outside_is_packed_decoded_and_answered():
    batch = pa.array([7, None, -(2**31)], pa.int64()), pa.array(["a", "b", None])
    codec = Codec("visits", FEATURES)

    values = codec.encode([column_values(one, feature) for one, feature in zip(batch, FEATURES, strict=True)], as_of=9)
    pages, titles = decoded(codec, values, FEATURES)

    assert pages.values.dtype == np.int32
    assert (nullable(pages), nullable(titles)) == ([7, None, -(2**31)], ["a", "b", None])
    assert nothing_found(INT32, 2).values.tolist() == [0, 0]
    assert arrow_type(INT32) == pa.int32()


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.5, True, "7"], ids=repr)
def test_a_written_value_of_a_type_from_outside_is_checked_by_its_json(value):
    with pytest.raises(ValueProblem, match=r"feature 'pages' is .*a whole number of 32 bits"):
        checked({"pages": value, "title": "a"}, FEATURES)


def test_a_written_value_of_a_type_from_outside_is_packed_and_described():
    row = checked({"pages": 2**31 - 1, "title": None}, FEATURES)
    codec = Codec("visits", FEATURES)

    [pages, _] = decoded(codec, pack(codec, [row], occurred_at=[5]), FEATURES)

    assert pages.values.tolist() == [2**31 - 1]
    assert of_feature(Column("pages", INT32, "", nullable=False)) == {
        "type": "integer",
        "minimum": -(2**31),
        "maximum": 2**31 - 1,
    }
    assert spark_type(INT32).simpleString() == str(INT32)


@pytest.mark.parametrize("type_", feature_types(), ids=str)
def test_spark_has_each_type_by_the_class_that_the_table_names(type_):
    assert spark_type(type_).simpleString() == str(type_)
