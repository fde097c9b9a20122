"""The answer in Feast's JSON: names, and per name the values, statuses and event timestamps of all rows."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson

from contracts.tables import Type
from serving.columns import Array, Column, Mask
from serving.plan import Plan
from serving.times import to_json_times

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
STATUSES = np.array(["NOT_FOUND", "NULL_VALUE", "PRESENT"], object)
KEY_STATUS, KEY_TIME = "PRESENT", "1970-01-01T00:00:00Z"  # of entity keys, as Feast tells them


def to_answer(plan: Plan, ids: Mapping[str, list[str]], columns: Mapping[str, Column], views: dict[str, Any]) -> bytes:
    """`columns` has one for each of the plan's references, `views` what is told of each view that was read."""
    rows = len(next(iter(ids.values())))
    key_statuses, key_times = fragment([KEY_STATUS] * rows), fragment([KEY_TIME] * rows)
    results = [{"values": one, "statuses": key_statuses, "event_timestamps": key_times} for one in ids.values()]
    metadata = {"feature_names": [*ids, *plan.names], "views": views}
    results += told(columns[reference] for reference in plan.references)
    return orjson.dumps({"metadata": metadata, "results": results}, option=OPTIONS)


def told(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Statuses and timestamps are mostly the same for all features of a view: equal ones are written once."""
    statuses: dict[bytes, orjson.Fragment] = {}
    times: dict[bytes, orjson.Fragment] = {}
    results = []
    for column in columns:
        codes = column.found.view(np.uint8) + column.valid.view(np.uint8)
        status, time = codes.tobytes(), column.as_of.tobytes()
        if status not in statuses:
            statuses[status] = fragment(STATUSES[codes].tolist())
        if time not in times:
            times[time] = fragment(to_json_times(column.as_of))
        values = to_json(column.type, column.values, column.valid)
        results.append({"values": values, "statuses": statuses[status], "event_timestamps": times[time]})
    return results


def to_json(type_: Type, values: Array, valid: Mask) -> Array | list[Any]:
    """What the serialiser writes as a JSON list, null where not valid.

    NaN and the infinities are strings (https://protobuf.dev/programming-guides/json/).
    """
    whole = bool(valid.all())
    if not whole:
        values = values[valid]
    plain: Array | list[Any] = values
    if type_ is Type.FLOAT64 and not np.isfinite(values).all():
        plain = [one if np.isfinite(one) else told_in_words(one) for one in values.tolist()]
    elif type_ is Type.TIMESTAMP:
        plain = to_json_times(values)
    elif type_ is Type.STRING:
        plain = values.tolist()
    if whole:
        return plain
    spread = np.full(len(valid), None, object)
    spread[valid] = plain
    return spread.tolist()


def told_in_words(value: float) -> str:
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def fragment(values: Any) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(values, option=OPTIONS))
