from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from tailrace.schemas.tables import Column, Type
from tailrace.schemas.types import feature_types
from tailrace.store.arrow import column_values

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
MICROS = int(NINE.timestamp()) * 1_000_000


def column(type_):
    return Column("feature", type_, "")


def read(array, type_):
    """Dtype, and values with None where they are not valid."""
    found = column_values(array, column(type_))
    values = found.values.astype("i8") if type_ is Type.TIMESTAMP else found.values
    return found.values.dtype, [one if ok else None for one, ok in zip(values.tolist(), found.valid, strict=True)]


@pytest.mark.parametrize(
    ("type_", "array", "dtype", "expected"),
    [
        (Type.INT64, pa.array([1, None, -(2**63), 2**63 - 1]), "i8", [1, None, -(2**63), 2**63 - 1]),
        (Type.INT64, pa.array([5, None], pa.int32()), "i8", [5, None]),
        (Type.FLOAT64, pa.array([0.5, None, float("inf")]), "f8", [0.5, None, float("inf")]),
        (Type.FLOAT64, pa.array([0.5, None], pa.float32()), "f8", [0.5, None]),
        (Type.BOOL, pa.array([True, None, False]), "?", [True, None, False]),
        (Type.STRING, pa.array(["", None, "漢"]), "O", ["", None, "漢"]),
        (Type.STRING, pa.array(["", None, "漢"], pa.large_string()), "O", ["", None, "漢"]),
        (Type.TIMESTAMP, pa.array([NINE, None], pa.timestamp("us", "UTC")), "M8[us]", [MICROS, None]),
        (Type.TIMESTAMP, pa.array([NINE, None], pa.timestamp("us", "Asia/Tokyo")), "M8[us]", [MICROS, None]),
        (Type.TIMESTAMP, pa.array([MICROS, None], pa.timestamp("us")), "M8[us]", [MICROS, None]),
        (Type.TIMESTAMP, pa.array([MICROS * 1_000], pa.timestamp("ns", "UTC")), "M8[us]", [MICROS]),
    ],
)
def test_a_column_keeps_its_values_and_its_nulls(type_, array, dtype, expected):
    assert read(array, type_) == (np.dtype(dtype), expected)


@pytest.mark.parametrize("type_", feature_types())
def test_a_column_of_nulls_has_no_valid_value(type_):
    arrow = {Type.INT64: pa.int64(), Type.FLOAT64: pa.float64(), Type.BOOL: pa.bool_(), Type.STRING: pa.string()}

    _, values = read(pa.nulls(3, arrow.get(type_, pa.timestamp("us", "UTC"))), type_)

    assert values == [None] * 3


@pytest.mark.parametrize("type_", feature_types())
def test_a_column_without_rows_is_empty(type_):
    arrow = {Type.INT64: pa.int64(), Type.FLOAT64: pa.float64(), Type.BOOL: pa.bool_(), Type.STRING: pa.string()}

    assert read(pa.nulls(0, arrow.get(type_, pa.timestamp("us", "UTC"))), type_)[1] == []


def test_nan_is_a_value_and_not_a_null():
    found = column_values(pa.array([float("nan"), None]), column(Type.FLOAT64))

    assert np.isnan(found.values[0])
    assert found.valid.tolist() == [True, False]


def test_part_of_an_array_is_read_from_where_it_begins():
    part = pa.array([True, None, False, None, True]).slice(2, 2)

    assert read(part, Type.BOOL)[1] == [False, None]
