"""The values of a column as JSON has them."""

from typing import Any

import numpy as np
import orjson

from serving.answers.times import to_json_times
from serving.read.columns import Array, Column, everywhere
from tailrace.schemas.tables import Type

ROWS_WRITTEN_TOGETHER = 1_000
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def nullable(column: Column) -> Array | list[Any]:
    """What the serialiser writes as the column's values, null where it is not valid."""
    if everywhere(column.valid):
        return to_json(column.type, column.values)
    shown = np.full(len(column.valid), None, object)
    shown[column.valid] = to_json(column.type, column.values[column.valid])
    values: list[Any] = shown.tolist()
    return values


def to_json(type_: Type, values: Array) -> Array | list[Any]:
    """What the serialiser writes as a JSON list.

    NaN and the infinities are strings (https://protobuf.dev/programming-guides/json/).
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [one if np.isfinite(one) else in_words(one) for one in values.tolist()]
    if type_ is Type.TIMESTAMP:
        return to_json_times(values)
    return values.tolist() if values.dtype.kind == "O" else values


def in_words(value: float) -> str:
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def column_of(values: Any, rows: int) -> Any:
    """The values of a column as the serialiser takes them; those of many rows are written at once, one column a step."""
    return fragment(values) if rows > ROWS_WRITTEN_TOGETHER else values


def fragment(values: Any) -> orjson.Fragment:
    """JSON that is written once and put in at several places."""
    return orjson.Fragment(orjson.dumps(values, option=OPTIONS))
