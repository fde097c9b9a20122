"""The packed value of one entity key in one view, encoded and decoded for whole batches by numpy.

Layout 1, little-endian: a header of 24 bytes (magic `TR`, layout, a reserved byte, length of the whole value, schema
fingerprint, as-of in microseconds), one fixed-width slot per feature in declared order, a bitmap with one bit
per feature that is set where it is null, and the UTF-8 bytes of the strings one after another. A string's
slot holds where it ends among those bytes, a null one's where it begins. Other null slots are zero, so equal rows
have equal bytes after the header.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.tables import Column, Type
from features.language.view import schema_fingerprint

MAGIC = b"TR"
LAYOUT = 1
HEADER = np.dtype(
    [("magic", "S2"), ("layout", "u1"), ("reserved", "u1"), ("bytes", "<u4"), ("fingerprint", "<u8"), ("as_of", "<i8")]
)
AS_OF_AT = HEADER.itemsize - HEADER["as_of"].itemsize  # it comes last
SLOTS = {Type.INT64: "<i8", Type.FLOAT64: "<f8", Type.BOOL: "u1", Type.TIMESTAMP: "<i8", Type.STRING: "<u4"}

Array = npt.NDArray[Any]


class CodecError(Exception):
    """A value that cannot be decoded; the message says what is wrong with it."""


class SchemaMismatch(CodecError):
    """A value written under another schema than the one it is read with."""


@dataclass(frozen=True)
class ColumnValues:
    """One feature of many rows: int64, float64, bool, datetime64[us] or str objects, and which of them are not null."""

    values: Array
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Decoded values: a column per feature, and the as-of of each row in microseconds."""

    columns: tuple[ColumnValues, ...]
    as_of: npt.NDArray[np.int64]


class Codec:
    """Encodes and decodes the values of one view under one schema."""

    def __init__(self, view: str, features: Sequence[Column]) -> None:
        self.view = view
        self.features = tuple(features)
        self.fingerprint = schema_fingerprint(self.features)
        self._fingerprint = int(self.fingerprint, 16)
        slots = [(f"f{i}", SLOTS[feature.type]) for i, feature in enumerate(self.features)]
        bitmap = ("null", "u1", (-(-len(slots) // 8),))
        self._row = np.dtype([("header", HEADER), *slots, bitmap])
        self._strings = [i for i, feature in enumerate(self.features) if feature.type is Type.STRING]

    def encode(self, columns: Sequence[ColumnValues], *, as_of: int) -> list[bytes]:
        """Encode rows given as one column per feature; `as_of` is microseconds since 1970."""
        count = len(columns[0].values)
        rows = np.zeros(count, dtype=self._row)
        tails = self._encode_strings(rows, columns)
        for i, (feature, column) in enumerate(zip(self.features, columns, strict=True)):
            if feature.type is not Type.STRING:
                rows[f"f{i}"] = np.where(column.valid, canonical(feature.type, column.values), 0)
        null = ~np.stack([column.valid for column in columns], axis=1)
        rows["null"] = np.packbits(null, axis=1, bitorder="little")
        header = rows["header"]
        header["magic"], header["layout"] = MAGIC, LAYOUT
        header["fingerprint"], header["as_of"] = self._fingerprint, as_of
        header["bytes"] = self._row.itemsize + np.fromiter(map(len, tails), np.int64, count)
        raw, size = rows.tobytes(), self._row.itemsize
        return [raw[i * size : (i + 1) * size] + tail for i, tail in enumerate(tails)]

    def _encode_strings(self, rows: Array, columns: Sequence[ColumnValues]) -> list[bytes]:
        tails = [b""] * len(rows)
        for i in self._strings:
            column = columns[i]
            pairs = zip(tails, column.values, column.valid, strict=True)
            tails = [tail + value.encode() if valid else tail for tail, value, valid in pairs]
            rows[f"f{i}"] = np.fromiter(map(len, tails), np.int64, len(tails))
        return tails

    def decode(self, values: Sequence[bytes]) -> Rows:
        """Decode values of this schema; raises `SchemaMismatch` for any other, `CodecError` for a damaged one."""
        size, count = self._row.itemsize, len(values)
        lengths = np.fromiter(map(len, values), np.int64, count)
        self._check_headers(values, lengths)
        if (lengths < size).any():
            raise CodecError(f"view {self.view}: a value of {lengths.min()} bytes is shorter than its {size}-byte row")
        raw = b"".join([value[:size] for value in values] if self._strings else values)
        rows = np.frombuffer(raw, dtype=self._row, count=count)
        null = np.unpackbits(rows["null"], axis=1, bitorder="little", count=len(self.features)).astype(bool)
        tails = self._decode_strings(values, rows) if self._strings else {}
        columns = []
        for i, feature in enumerate(self.features):
            values_of_feature = tails[i] if i in tails else as_numpy(feature.type, rows[f"f{i}"])
            columns.append(ColumnValues(values_of_feature, ~null[:, i]))
        return Rows(tuple(columns), rows["header"]["as_of"].astype(np.int64))

    def _check_headers(self, values: Sequence[bytes], lengths: Array) -> None:
        if (lengths < HEADER.itemsize).any():
            raise CodecError(f"view {self.view}: a value of {lengths.min()} bytes has no header")
        header = np.frombuffer(b"".join([value[: HEADER.itemsize] for value in values]), dtype=HEADER)
        if (header["magic"] != MAGIC).any() or (header["layout"] != LAYOUT).any():
            raise CodecError(f"view {self.view}: a value is not in layout {LAYOUT}; upgrade this reader, or push again")
        if (header["fingerprint"] != self._fingerprint).any():
            other = next(int(one) for one in header["fingerprint"] if one != self._fingerprint)
            raise SchemaMismatch(
                f"view {self.view}: a value was written under schema {other:016x}, this reader has {self.fingerprint}"
            )
        if (header["bytes"] != lengths).any():
            raise CodecError(f"view {self.view}: a value is cut off or has bytes too many")

    def _decode_strings(self, values: Sequence[bytes], rows: Array) -> dict[int, Array]:
        starts, decoded = np.zeros(len(rows), np.int64), {}
        size = self._row.itemsize
        for i in self._strings:
            ends = rows[f"f{i}"].astype(np.int64)
            column = np.empty(len(rows), dtype=object)
            spans = zip(values, (size + starts).tolist(), (size + ends).tolist(), strict=True)
            try:
                column[:] = [value[start:end].decode() for value, start, end in spans]
            except UnicodeDecodeError as error:
                name = self.features[i].name
                raise CodecError(f"view {self.view}, feature {name}: a value is not UTF-8: {error}") from error
            if (ends < starts).any():
                raise CodecError(f"view {self.view}, feature {self.features[i].name}: a value is damaged")
            decoded[i], starts = column, ends
        if (size + starts != np.fromiter(map(len, values), np.int64, len(values))).any():
            raise CodecError(f"view {self.view}: the strings of a value do not fill it; it is damaged")
        return decoded


def fingerprints(values: Sequence[bytes]) -> list[str]:
    """The schema fingerprint each value was written under."""
    return [f"{int.from_bytes(value[8:16], 'little'):016x}" for value in values]


def payload(value: bytes) -> bytes:
    """What is after the header: equal for equal features, whenever they were written."""
    return value[HEADER.itemsize :]


def meaning(value: bytes) -> bytes:
    """All but the as-of: equal where two values tell a reader the same, whenever they were written."""
    return value[:AS_OF_AT] + payload(value)


def canonical(type_: Type, values: Array) -> Array:
    if type_ is Type.TIMESTAMP:
        return values.astype("datetime64[us]").astype(np.int64)
    if type_ is Type.FLOAT64:
        return np.where(np.isnan(values), np.nan, values)  # one NaN of the many
    return values


def as_numpy(type_: Type, slots: Array) -> Array:
    if type_ is Type.TIMESTAMP:
        return slots.astype("datetime64[us]")
    if type_ is Type.BOOL:
        return slots.astype(bool)
    return np.ascontiguousarray(slots)
