"""Answers in their forms: Feast's JSON, the compact JSON, and an Arrow stream."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from serving.common.interface import ARROW_METADATA
from serving.common.loop import Steps
from serving.common.request import FeatureRequest, RequestPlan, typed_keys
from serving.read.columns import STATUSES, Array, FeatureColumn, Found, Mask, everywhere, status_codes
from tailrace.schemas.tables import Type
from tailrace.store.arrow import arrow_type

# The serialiser's own range ends a few hours before the year 9999 does; numpy formats times beyond.
FIRST_FAST = -62_135_596_800_000_000  # 0001-01-01
LAST_FAST = 253_402_128_000_000_000  # 9999-12-30

ROWS_WRITTEN_TOGETHER = 1_000
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z

PRESENT = len(STATUSES) - 1

KEY_STATUS, KEY_TIME = "PRESENT", "1970-01-01T00:00:00Z"  # of entity keys, as Feast spells them

TIME = arrow_type(Type.TIMESTAMP)
FACT_TYPES = {"found": pa.uint8(), "times": TIME}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The values read for one request: a column for each of the plan's references, and the facts about each view."""

    asked: FeatureRequest
    plan: RequestPlan
    columns: Mapping[str, FeatureColumn]
    views: Mapping[str, Any]

    @property
    def named(self) -> Iterator[tuple[str, FeatureColumn]]:
        """The features asked for, in their order and as they are called in the answer."""
        for name, reference in zip(self.plan.names, self.plan.references, strict=True):
            yield name, self.columns[reference]


def to_json_times(times: Array) -> Array | list[str]:
    """Times that the serialiser turns into UTC texts: datetime64[us] as they are, or texts if it cannot take one."""
    micros = times.view(np.int64)
    if not len(times) or (micros.min() >= FIRST_FAST and micros.max() <= LAST_FAST):
        return times
    return [text.removesuffix(".000000") + "Z" for text in np.datetime_as_string(times).tolist()]


def nullable(column: FeatureColumn) -> Array | list[Any]:
    """The column's values for the serialiser, null where the column is not valid."""
    if everywhere(column.valid):
        return to_json(column.type, column.values)
    if column.type.info.element is not None:
        return [value if valid else None for value, valid in zip(column.values, column.valid.tolist(), strict=True)]
    shown = np.full(len(column.valid), None, object)
    shown[column.valid] = to_json(column.type, column.values[column.valid])
    values: list[Any] = shown.tolist()
    return values


def to_json(type_: Type, values: Array) -> Array | list[Any]:
    """Values that the serialiser writes as a JSON list.

    NaN and the infinities are strings (https://protobuf.dev/programming-guides/json/).
    """
    if values.dtype.kind == "f" and values.ndim == 1 and not np.isfinite(values).all():
        return [one if np.isfinite(one) else in_words(one) for one in values.tolist()]
    if type_ is Type.TIMESTAMP:
        return to_json_times(values)
    if values.dtype.kind == "M":
        days: list[Any] = np.datetime_as_string(values, unit="D").tolist()
        return days
    return values.tolist() if values.dtype.kind == "O" else values


def in_words(value: float) -> str:
    return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def column_of(values: Any, rows: int) -> Any:
    """The values of a column as the serialiser takes them; those of many rows are written at once, one column a step."""
    return fragment(values) if rows > ROWS_WRITTEN_TOGETHER else values


def fragment(values: Any) -> orjson.Fragment:
    """JSON that is written once and put in at several places."""
    return orjson.Fragment(orjson.dumps(values, option=OPTIONS))


def to_compact(answer: Answer) -> Steps:
    names, features = [name for name, _ in answer.named], []
    for shown in features_of([column for _, column in answer.named], times=answer.asked.times):
        features.append(shown)
        yield
    whole = {"rows": answer.asked.rows, "views": answer.views, "features": dict(zip(names, features, strict=True))}
    return orjson.dumps(whole, option=OPTIONS)


def features_of(columns: list[FeatureColumn], *, times: bool) -> Iterator[dict[str, Any]]:
    """The features of a view mostly share statuses and times: what is shared is written once."""
    written: dict[tuple[bytes, ...], orjson.Fragment] = {}

    def once(key: tuple[bytes, ...], make: Any, column: FeatureColumn) -> orjson.Fragment:
        if key not in written:
            written[key] = fragment(make(column))
        return written[key]

    for column in columns:
        shown: dict[str, Any] = {"values": column_of(nullable(column), len(column.found))}
        found = column.found.tobytes()
        if not everywhere(column.valid):
            shown["statuses"] = once((found, column.valid.tobytes()), absences_of, column)
        if times:
            shown["times"] = once((b"times", found, column.as_of.tobytes()), times_of, column)
        yield shown


def absences_of(column: FeatureColumn) -> dict[str, list[int]]:
    """The rows that have no value, by status."""
    codes = status_codes(column)
    return {STATUSES[code]: np.flatnonzero(codes == code).tolist() for code in np.unique(codes) if code != PRESENT}


def times_of(column: FeatureColumn) -> list[Any]:
    shown = np.full(len(column.found), None, object)
    known = column.found >= Found.OUTSIDE_MAX_AGE
    shown[known] = to_json_times(column.as_of[known])
    times: list[Any] = shown.tolist()
    return times


def to_feast(answer: Answer) -> Steps:
    ids, rows = answer.asked.ids, answer.asked.rows
    key_statuses, key_times = fragment([KEY_STATUS] * rows), fragment([KEY_TIME] * rows)
    results: list[dict[str, Any]] = []
    as_given: dict[str, Any] = ids | {one.key: typed_keys(one, answer.asked) for one in answer.plan.typed}
    for one in as_given.values():
        values = column_of(one, rows)
        results.append({"values": values, "statuses": key_statuses, "event_timestamps": key_times})
        yield
    for result in results_of(column for _, column in answer.named):
        results.append(result)
        yield
    metadata = {"feature_names": [*ids, *answer.plan.names], "views": answer.views}
    return orjson.dumps({"metadata": metadata, "results": results}, option=OPTIONS)


def results_of(columns: Iterable[FeatureColumn]) -> Iterator[dict[str, Any]]:
    """The features of a view mostly share statuses and timestamps: what is shared is written once."""
    statuses: dict[tuple[bytes, bytes], orjson.Fragment] = {}
    times: dict[bytes, orjson.Fragment] = {}
    for column in columns:
        status, time = (column.found.tobytes(), column.valid.tobytes()), column.as_of.tobytes()
        if status not in statuses:
            statuses[status] = fragment(statuses_of(column))
        if time not in times:
            times[time] = fragment(to_json_times(column.as_of))
        values = column_of(nullable(column), len(column.found))
        yield {"values": values, "statuses": statuses[status], "event_timestamps": times[time]}


def statuses_of(column: FeatureColumn) -> list[str]:
    statuses: list[str] = STATUSES[status_codes(column)].tolist()
    return statuses


def to_arrow_stream(answer: Answer) -> Steps:
    facts, found, times = FactColumns(), {}, {}
    arrays = []
    for name, column in answer.named:
        codes = column.found.tobytes()
        if codes.count(Found.FOUND) < len(codes):
            found[name] = facts.name_of("found", codes, column.found, np.ones(len(codes), bool))
        if answer.asked.times:
            known = column.found >= Found.OUTSIDE_MAX_AGE
            times[name] = facts.name_of("times", known.tobytes() + column.as_of.tobytes(), column.as_of, known)
        arrays.append(to_arrow(arrow_type(column.type), column.values, column.valid))
        yield
    types = tuple(column.type for _, column in answer.named)
    metadata = orjson.dumps({"views": answer.views, "found": found, "times": times})
    schema = schema_of(answer.plan.names, types, tuple(facts.names)).with_metadata({ARROW_METADATA: metadata})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays(arrays + facts.arrays, schema=schema))
    written: bytes = sink.getvalue().to_pybytes()
    return written


class FactColumns:
    """Columns next to the features, each once however many features share it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.arrays: list[pa.Array] = []
        self._known: dict[tuple[str, bytes], str] = {}

    def name_of(self, kind: str, content: bytes, values: Array, valid: Mask) -> str:
        key = kind, content
        if key not in self._known:
            self._known[key] = f"#{kind}.{len(self.names)}"
            self.names.append(self._known[key])
            self.arrays.append(to_arrow(FACT_TYPES[kind], values, valid))
        return self._known[key]


@lru_cache(maxsize=256)
def schema_of(names: tuple[str, ...], types: tuple[Type, ...], facts: tuple[str, ...]) -> pa.Schema:
    features = [(name, arrow_type(type_)) for name, type_ in zip(names, types, strict=True)]
    return pa.schema(features + [(name, FACT_TYPES[name[1:].partition(".")[0]]) for name in facts])


def to_arrow(type_: pa.DataType, values: Array, valid: Mask) -> pa.Array:
    """The values, null where they are not valid; made of numpy's own bytes, and without pandas, which Arrow would load."""
    buffers = [None if everywhere(valid) else bits(valid)]
    if pa.types.is_fixed_size_list(type_):
        return pa.Array.from_buffers(
            type_, len(values), buffers, children=[in_one(type_.value_type, values.reshape(-1))]
        )
    if pa.types.is_list(type_):
        lists = [one if is_there else [] for one, is_there in zip(values, valid.tolist(), strict=True)]
        buffers.append(pa.py_buffer(np.cumsum([0, *map(len, lists)], dtype=np.int32)))
        elements = np.array([one for of_row in lists for one in of_row], numpy_of(type_.value_type))
        return pa.Array.from_buffers(type_, len(values), buffers, children=[in_one(type_.value_type, elements)])
    if pa.types.is_string(type_):
        texts = [text.encode() if is_there else b"" for text, is_there in zip(values, valid.tolist(), strict=True)]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        buffers += [pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
    elif pa.types.is_boolean(type_):
        buffers.append(bits(values))
    else:
        days = values.astype(np.int32) if pa.types.is_date32(type_) else values  # numpy has them in 8 bytes
        buffers.append(pa.py_buffer(np.ascontiguousarray(days).view(np.uint8)))
    return pa.Array.from_buffers(type_, len(values), buffers)


def in_one(type_: pa.DataType, elements: Array) -> pa.Array:
    """The elements of all rows, one after the other; none of them is null."""
    return to_arrow(type_, elements, np.ones(len(elements), bool))


def numpy_of(type_: pa.DataType) -> Any:
    """What numpy has the elements of a list in."""
    return object if pa.types.is_string(type_) else type_.to_pandas_dtype()


def bits(flags: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))
