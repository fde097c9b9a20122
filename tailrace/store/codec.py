"""The packed value of one entity key in one view, encoded and decoded for whole batches by numpy.

Layout 1, little-endian: a header of 24 bytes (magic `TR`, layout, a reserved byte, length of the whole value, schema
fingerprint, as-of in microseconds), one fixed-width slot per feature in declared order, a bitmap with one bit
per feature that is set where it is null, and the UTF-8 bytes of the strings one after another. A string's
slot holds where it ends among those bytes, a null one's where it begins. Other null slots are zero, so equal rows
have equal bytes after the header.

Layout 2 is the same with types that layout 1 does not have. A vector's numbers stand in the row one after another. Lists are
among the strings: numbers in 8 bytes each; of texts how many there are and where each ends, in 4 bytes each, and then their
UTF-8 bytes. A value is in layout 2 only where a feature of its view needs it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tailrace.definitions.fingerprints import schema_fingerprint
from tailrace.errors import DataError
from tailrace.schemas.tables import Column, Type
from tailrace.store.tails import Tail

MAGIC = b"TR"
HEADER = np.dtype(
    [("magic", "S2"), ("layout", "u1"), ("reserved", "u1"), ("bytes", "<u4"), ("fingerprint", "<u8"), ("as_of", "<i8")]
)
AS_OF_AT = HEADER.itemsize - HEADER["as_of"].itemsize  # it comes last
MICROSECONDS = np.dtype("M8[us]")

Array = npt.NDArray[Any]


class CodecError(DataError):
    """A value that cannot be decoded; the message says what is wrong with it."""


class SchemaMismatch(CodecError):
    """A value written under another schema than the one it is read with."""


class ColumnValues(NamedTuple):
    """One feature of many rows, as numpy holds its type (`Type.packed`), and which of them are not null."""

    values: Array
    valid: npt.NDArray[np.bool_]


class Run(NamedTuple):
    """Features of one type one after another, how many, and where in a row the first of them lies."""

    features: int
    slot: np.dtype[Any]
    numpy: np.dtype[Any]
    at: int


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
        self._layout = max((feature.type.packed.layout for feature in self.features), default=1)
        slots = [(f"f{i}", feature.type.packed.in_row) for i, feature in enumerate(self.features)]
        bitmap = ("null", "u1", (-(-len(slots) // 8),))
        self._row = np.dtype([("header", HEADER), *slots, bitmap])
        self._runs = tuple(runs_of(self.features))
        self._tails = {i: Tail.of(one.type) for i, one in enumerate(self.features) if one.type.packed.numpy == "O"}
        # What every header begins with where the reserved byte is not in use, but for the length of the value.
        self._begins = int.from_bytes(MAGIC + bytes([self._layout]), "little")

    def encode(self, columns: Sequence[ColumnValues], *, as_of: int | Array) -> list[bytes]:
        """Encode rows given as one column per feature; `as_of` is microseconds since 1970, of all rows or of each."""
        count = len(columns[0].values)
        rows = np.zeros(count, dtype=self._row)
        tails = self._encode_tails(rows, columns)
        for i, (feature, column) in enumerate(zip(self.features, columns, strict=True)):
            if i not in self._tails:
                values = canonical(feature.type, column.values)
                valid = column.valid if values.ndim == 1 else column.valid[:, np.newaxis]
                rows[f"f{i}"] = np.where(valid, values, 0)
        null = ~np.stack([column.valid for column in columns], axis=1)
        rows["null"] = np.packbits(null, axis=1, bitorder="little")
        header = rows["header"]
        header["magic"], header["layout"] = MAGIC, self._layout
        header["fingerprint"], header["as_of"] = self._fingerprint, as_of
        header["bytes"] = self._row.itemsize + np.fromiter(map(len, tails), np.int64, count)
        raw, size = rows.tobytes(), self._row.itemsize
        return [raw[i * size : (i + 1) * size] + tail for i, tail in enumerate(tails)]

    def _encode_tails(self, rows: Array, columns: Sequence[ColumnValues]) -> list[bytes]:
        tails = [b""] * len(rows)
        for i, (encode, _) in self._tails.items():
            column = columns[i]
            pairs = zip(tails, column.values, column.valid, strict=True)
            tails = [tail + encode(value) if valid else tail for tail, value, valid in pairs]
            rows[f"f{i}"] = np.fromiter(map(len, tails), np.int64, len(tails))
        return tails

    def decode(self, values: Sequence[bytes]) -> Rows:
        """Decode values of this schema; raises `SchemaMismatch` for any other, `CodecError` for a damaged one."""
        size, count = self._row.itemsize, len(values)
        lengths = np.fromiter(map(len, values), np.int64, count)
        if (lengths < size).any():
            self._check_headers(values, lengths)
            raise CodecError(f"view {self.view}: a value of {lengths.min()} bytes is shorter than its {size}-byte row")
        raw = b"".join([value[:size] for value in values] if self._tails else values) or bytes(size)
        if not self._is_usual(raw, lengths):
            self._check_headers(values, lengths)
        rows = np.frombuffer(raw, dtype=self._row, count=count)
        null = np.unpackbits(rows["null"], axis=1, bitorder="little", count=len(self.features))
        columns = self._decode_slots(raw, count)
        valid = np.logical_not(null.T)
        for i, found in self._decode_tails(values, rows).items():
            columns[i] = found
        return Rows(tuple(map(ColumnValues, columns, valid)), rows["header"]["as_of"].astype(np.int64))

    def _is_usual(self, raw: bytes, lengths: Array) -> bool:
        """Whether all headers are as this codec writes them; where not, each part of them is looked at by itself."""
        count, size = len(lengths), self._row.itemsize
        if len(raw) != count * size:
            return False
        starts = np.ndarray((count, 2), "<u8", raw, 0, (size, 8))
        return bool(
            (starts[:, 0] == self._begins + (lengths << 32)).all() and (starts[:, 1] == self._fingerprint).all()
        )

    def _decode_slots(self, raw: bytes, count: int) -> list[Array]:
        """The values of each feature; of a string, where it ends."""
        columns: list[Array] = []
        for run in self._runs:
            if run.numpy.shape:
                columns.extend(self._matrices(run, raw, count))
                continue
            shape, strides = (count, run.features), (self._row.itemsize, run.slot.itemsize)
            slots = np.ndarray(shape, run.slot, raw, run.at, strides)
            columns.extend(as_numpy(run.numpy, np.ascontiguousarray(slots.T)))
        return columns

    def _matrices(self, run: Run, raw: bytes, count: int) -> Iterator[Array]:
        """The values of one vector after the other, each a matrix with a row for each value."""
        vector, strides = run.slot, (self._row.itemsize, run.slot.base.itemsize)
        for at in range(run.at, run.at + run.features * vector.itemsize, vector.itemsize):
            in_rows = np.ndarray((count, *vector.shape), vector.base, raw, at, strides)
            yield np.ascontiguousarray(in_rows).astype(run.numpy.base, copy=False)

    def _check_headers(self, values: Sequence[bytes], lengths: Array) -> None:
        if (lengths < HEADER.itemsize).any():
            raise CodecError(f"view {self.view}: a value of {lengths.min()} bytes has no header")
        header = np.frombuffer(b"".join([value[: HEADER.itemsize] for value in values]), dtype=HEADER)
        if (header["magic"] != MAGIC).any() or (header["layout"] != self._layout).any():
            raise CodecError(
                f"view {self.view}: a value is not in layout {self._layout}; upgrade this reader, or push again"
            )
        if (header["fingerprint"] != self._fingerprint).any():
            other = next(int(one) for one in header["fingerprint"] if one != self._fingerprint)
            raise SchemaMismatch(
                f"view {self.view}: a value was written under schema {other:016x}, this reader has {self.fingerprint}"
            )
        if (header["bytes"] != lengths).any():
            raise CodecError(f"view {self.view}: a value is cut off or has bytes too many")

    def _decode_tails(self, values: Sequence[bytes], rows: Array) -> dict[int, Array]:
        starts, decoded = np.zeros(len(rows), np.int64), {}
        size = self._row.itemsize
        for i, (_, decode) in self._tails.items():
            ends = rows[f"f{i}"].astype(np.int64)
            spans = zip(values, (size + starts).tolist(), (size + ends).tolist(), strict=True)
            here = f"view {self.view}, feature {self.features[i].name}"
            try:
                column = np.fromiter([decode(value[start:end]) for value, start, end in spans], object, len(rows))
            except UnicodeDecodeError as error:
                raise CodecError(f"{here}: a value is not UTF-8: {error}") from error
            except ValueError as error:
                raise CodecError(f"{here}: a value is damaged: {error}") from error
            if (ends < starts).any():
                raise CodecError(f"{here}: a value is damaged")
            decoded[i], starts = column, ends
        if (size + starts != np.fromiter(map(len, values), np.int64, len(values))).any():
            raise CodecError(f"view {self.view}: the texts and lists of a value do not fill it; it is damaged")
        return decoded


def fingerprints(values: Sequence[bytes]) -> list[str]:
    """The schema fingerprint each value was written under."""
    return [f"{int.from_bytes(value[8:16], 'little'):016x}" for value in values]


def payload(value: bytes) -> bytes:
    """What is after the header: equal for equal features, whenever they were written."""
    return value[HEADER.itemsize :]


def meaning(value: bytes) -> bytes:
    """All but the as-of: equal where two values mean the same to a reader, whenever they were written."""
    return value[:AS_OF_AT] + payload(value)


def canonical(type_: Type, values: Array) -> Array:
    """Values of a type of fixed width, as a row holds them."""
    dtype = np.dtype(type_.packed.numpy).base
    if dtype.kind == "M":
        return values.astype(dtype).astype(np.int64)
    if dtype.kind == "f":
        single = np.where(np.isnan(values), dtype.type(np.nan), values)  # one NaN of the many
        return single if type_.packed.layout == 1 else single + dtype.type(0)  # and of the two zeros the usual one
    return values


def runs_of(features: Sequence[Column]) -> Iterator[Run]:
    at = HEADER.itemsize
    for type_, alike in groupby(feature.type for feature in features):
        run = Run(len(list(alike)), np.dtype(type_.packed.in_row), np.dtype(type_.packed.numpy), at)
        yield run
        at += run.features * run.slot.itemsize


def as_numpy(dtype: np.dtype[Any], slots: Array) -> Array:
    """Slots as values; those of a text stay where it ends."""
    if dtype.kind == "M":
        return slots.astype(np.int64, copy=False).view(dtype)
    return slots if dtype.kind == "O" else slots.astype(dtype, copy=False)
