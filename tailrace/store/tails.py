"""Values of no fixed width, as they stand behind the row of a packed value: texts and lists."""

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tailrace.schemas.tables import Type

WHOLE = struct.Struct("<I")


class Tail(NamedTuple):
    """How values of a type become bytes and come back; `decode` of no bytes at all is what stands for null.

    `decode` raises `ValueError` for bytes that no value has.
    """

    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]

    @classmethod
    def of(cls, type_: Type) -> "Tail":
        """That of texts, or of lists of a type."""
        if type_.info.element is None:
            return cls(str.encode, bytes.decode)
        return NUMBERS.get(type_.info.element, TEXTS)


def numbers(kind: str) -> Tail:
    """Lists of numbers of 8 bytes, as numpy spells them; of the two zeros the usual one, and one NaN of the many."""

    def encode(values: Sequence[Any]) -> bytes:
        found = np.array(values, kind)
        if found.dtype.kind == "f":
            found = np.where(np.isnan(found), np.nan, found + 0.0).astype(kind)
        return found.tobytes()

    def decode(data: bytes) -> list[Any]:
        found: list[Any] = np.frombuffer(data, kind).tolist()
        return found

    return Tail(encode, decode)


def encode_texts(texts: Sequence[str]) -> bytes:
    """How many, where each ends, and their UTF-8 bytes."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(one) for one in encoded], dtype="<u4")
    return WHOLE.pack(len(encoded)) + ends.tobytes() + b"".join(encoded)


def decode_texts(data: bytes) -> list[str]:
    """The texts again; raises `ValueError` where these bytes are no such list."""
    if not data:
        return []
    if len(data) < WHOLE.size:
        raise ValueError("a list of texts does not say how many there are")
    [count] = WHOLE.unpack_from(data)
    begin = WHOLE.size * (1 + count)
    if len(data) < begin:
        raise ValueError("a list of texts is cut off")
    ends = np.frombuffer(data, "<u4", count, WHOLE.size).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1]]) if count else ends
    if (starts > ends).any() or begin + (ends[-1] if count else 0) != len(data):
        raise ValueError("the texts of a list do not fill it")
    return [
        data[begin + start : begin + end].decode() for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


TEXTS = Tail(encode_texts, decode_texts)
NUMBERS = {Type.INT64: numbers("<i8"), Type.FLOAT64: numbers("<f8")}
