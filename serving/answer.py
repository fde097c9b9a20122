"""The answer in Feast's JSON: names, and per name the values, statuses and event timestamps of all rows."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import orjson

from contracts.tables import Type
from serving.columns import Array, Column
from serving.engine import Answer
from serving.times import to_json_times

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
# By `Found`, one higher where there is a value.
STATUSES = np.array(["NOT_FOUND", "TIMEOUT", "OUTSIDE_MAX_AGE", "NULL_VALUE", "PRESENT"], object)
NOT_VALID = b"\0"
KEY_STATUS, KEY_TIME = "PRESENT", "1970-01-01T00:00:00Z"  # of entity keys, as Feast tells them


def to_answer(answer: Answer) -> bytes:
    plan, ids = answer.plan, answer.ids
    rows = len(next(iter(ids.values())))
    key_statuses, key_times = fragment([KEY_STATUS] * rows), fragment([KEY_TIME] * rows)
    results = [{"values": one, "statuses": key_statuses, "event_timestamps": key_times} for one in ids.values()]
    metadata = {"feature_names": [*ids, *plan.names], "views": answer.views}
    results += told(answer.columns[reference] for reference in plan.references)
    return orjson.dumps({"metadata": metadata, "results": results}, option=OPTIONS)


def told(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """The features of a view mostly share statuses and timestamps: what is shared is written once."""
    statuses: dict[tuple[int, bytes], orjson.Fragment] = {}
    times: dict[int, orjson.Fragment] = {}
    results = []
    for column in columns:
        valid, time = column.valid.tobytes(), id(column.as_of)
        status = id(column.found), valid
        if status not in statuses:
            statuses[status] = fragment(statuses_of(column))
        if time not in times:
            times[time] = fragment(to_json_times(column.as_of))
        values = beside_nulls(column) if NOT_VALID in valid else to_json(column.type, column.values)
        results.append({"values": values, "statuses": statuses[status], "event_timestamps": times[time]})
    return results


def statuses_of(column: Column) -> list[str]:
    told: list[str] = STATUSES[column.found + column.valid].tolist()
    return told


def to_json(type_: Type, values: Array) -> Array | list[Any]:
    """What the serialiser writes as a JSON list.

    NaN and the infinities are strings (https://protobuf.dev/programming-guides/json/).
    """
    if type_ is Type.FLOAT64 and not np.isfinite(values).all():
        return [one if np.isfinite(one) else in_words(one) for one in values.tolist()]
    if type_ is Type.TIMESTAMP:
        return to_json_times(values)
    return values.tolist() if type_ is Type.STRING else values


def beside_nulls(column: Column) -> list[Any]:
    """The same with null where the column is not valid."""
    told = np.full(len(column.valid), None, object)
    told[column.valid] = to_json(column.type, column.values[column.valid])
    nullable: list[Any] = told.tolist()
    return nullable


def in_words(value: float) -> str:
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def fragment(values: Any) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(values, option=OPTIONS))
