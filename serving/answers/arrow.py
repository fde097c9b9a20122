"""The answer as an Arrow IPC stream of one batch: a column per feature, and columns of facts about the rows.

The schema's metadata has under `tailrace` a JSON object: `views` as every answer tells them, and by feature in
`found` and `times` the name of the column that has them. `#found.N` columns have `serving.read.columns.Found` codes, and
are left out where everything was found; `#times.N` the times of last change, where asked. A null is
`NULL_VALUE` where its row was found.
"""

from functools import lru_cache

import numpy as np
import orjson
import pyarrow as pa

from serving.answers.json import Answer
from serving.common.interface import ARROW_METADATA
from serving.common.loop import Steps
from serving.read.columns import Array, Found, Mask, everywhere
from tailrace.schemas.tables import Type
from tailrace.store.arrow import arrow_type

TIME = arrow_type(Type.TIMESTAMP)
BESIDE = {"found": pa.uint8(), "times": TIME}


def to_answer(answer: Answer) -> Steps:
    beside, found, times = Beside(), {}, {}
    arrays = []
    for name, column in answer.named:
        codes = column.found.tobytes()
        if codes.count(Found.FOUND) < len(codes):
            found[name] = beside.name_of("found", codes, column.found, np.ones(len(codes), bool))
        if answer.asked.times:
            known = column.found >= Found.OUTSIDE_MAX_AGE
            times[name] = beside.name_of("times", known.tobytes() + column.as_of.tobytes(), column.as_of, known)
        arrays.append(to_arrow(arrow_type(column.type), column.values, column.valid))
        yield
    types = tuple(column.type for _, column in answer.named)
    metadata = orjson.dumps({"views": answer.views, "found": found, "times": times})
    schema = schema_of(answer.plan.names, types, tuple(beside.names)).with_metadata({ARROW_METADATA: metadata})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.RecordBatch.from_arrays(arrays + beside.arrays, schema=schema))
    written: bytes = sink.getvalue().to_pybytes()
    return written


class Beside:
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
            self.arrays.append(to_arrow(BESIDE[kind], values, valid))
        return self._known[key]


@lru_cache(maxsize=256)
def schema_of(names: tuple[str, ...], types: tuple[Type, ...], beside: tuple[str, ...]) -> pa.Schema:
    features = [(name, arrow_type(type_)) for name, type_ in zip(names, types, strict=True)]
    return pa.schema(features + [(name, BESIDE[name[1:].partition(".")[0]]) for name in beside])


def to_arrow(type_: pa.DataType, values: Array, valid: Mask) -> pa.Array:
    """The values, null where they are not valid; made of numpy's own bytes, and without pandas, which Arrow would load."""
    buffers = [None if everywhere(valid) else bits(valid)]
    if pa.types.is_string(type_):
        texts = [text.encode() if is_there else b"" for text, is_there in zip(values, valid.tolist(), strict=True)]
        ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
        buffers += [pa.py_buffer(ends), pa.py_buffer(b"".join(texts))]
    elif pa.types.is_boolean(type_):
        buffers.append(bits(values))
    else:
        buffers.append(pa.py_buffer(np.ascontiguousarray(values).view(np.uint8)))
    return pa.Array.from_buffers(type_, len(values), buffers)


def bits(flags: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))
