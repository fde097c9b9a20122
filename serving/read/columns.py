"""Packed values as numpy columns: decoded by schema, fanned out to rows, and finished by on-demand features."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tailrace.definitions import OnDemandFeature
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column as Feature
from tailrace.schemas.tables import Type
from tailrace.store.codec import MICROSECONDS, Codec, CodecError, fingerprints

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

NOWHERE = -1  # the position of a row that has no value
UNTOLD = -2  # and of one that the store did not answer in time

# By `Found`, one higher where there is a value.
STATUSES = np.array(["NOT_FOUND", "TIMEOUT", "OUTSIDE_MAX_AGE", "NULL_VALUE", "PRESENT"], object)


class Found(IntEnum):
    """The result of looking a row up. Where several look-ups make one value, the least of them counts."""

    NOT_FOUND = 0
    TIMEOUT = 1  # nobody knows: the store did not answer in time
    OUTSIDE_MAX_AGE = 2  # there is a value, of a view whose watermark is older than the view allows
    FOUND = 3


class FeatureColumn(NamedTuple):
    """Values as numpy holds the type (`Type.packed`), meaningful where `valid`; a row is `valid` only where it is `FOUND`.

    `found` has a `Found` for each row, as uint8. `as_of` is what each value's header says, as datetime64[us], and 1970
    where none was found.
    """

    type: Type
    values: Array
    valid: Mask
    found: Array
    as_of: Array


def everywhere(mask: Mask) -> bool:
    """Whether a mask is true in all rows; a hundred rows take 0.6 µs, where numpy's own `all` takes 2."""
    return b"\0" not in mask.tobytes()


def status_codes(column: FeatureColumn) -> Array:
    """The status of each row, as its place in `STATUSES`."""
    codes: Array = column.found + column.valid
    return codes


def nothing_found(type_: Type, rows: int) -> FeatureColumn:
    values, as_of = np.zeros(rows, type_.packed.numpy), np.zeros(rows, MICROSECONDS)
    return FeatureColumn(
        type=type_, values=values, valid=np.zeros(rows, bool), found=np.zeros(rows, np.uint8), as_of=as_of
    )


def fanned_out(columns: Sequence[FeatureColumn], at: Array) -> list[FeatureColumn]:
    """Give each row the value `at` its position, which may be `NOWHERE` or `UNTOLD`.

    There is at least one value, none is left out, and they are in the order in which rows first ask for them.
    """
    if len(at) == len(columns[0].values):  # one value for each row, and so in the rows' order
        return list(columns)
    somewhere, position = at >= 0, np.maximum(at, 0)
    elsewhere = without_value(at)
    shared: dict[int, Array] = {}  # columns of one view mostly have the same `found` and `as_of`
    fanned = []
    for column in columns:
        if id(column.found) not in shared:
            shared[id(column.found)] = np.where(somewhere, column.found[position], elsewhere)
            shared[id(column.as_of)] = np.where(somewhere, column.as_of[position], np.datetime64(0, "us"))
        fanned.append(
            FeatureColumn(
                type=column.type,
                values=column.values[position],
                valid=column.valid[position] & somewhere,
                found=shared[id(column.found)],
                as_of=shared[id(column.as_of)],
            )
        )
    return fanned


def stacked(parts: Sequence[Sequence[FeatureColumn]]) -> list[FeatureColumn]:
    """The columns of several parts of the rows, one below the other."""
    joined: dict[tuple[int, ...], Array] = {}  # columns of one view mostly have the same `found` and `as_of`

    def join(arrays: list[Array]) -> Array:
        key = tuple(map(id, arrays))
        if key not in joined:
            joined[key] = np.concatenate(arrays)
        return joined[key]

    return [
        FeatureColumn(
            type=columns[0].type,
            values=np.concatenate([one.values for one in columns]),
            valid=np.concatenate([one.valid for one in columns]),
            found=join([one.found for one in columns]),
            as_of=join([one.as_of for one in columns]),
        )
        for columns in zip(*parts, strict=True)
    ]


def not_valued(type_: Type, at: Array) -> FeatureColumn:
    """A column of a view that has no value for any row; `at` is `NOWHERE` or `UNTOLD` for each."""
    column = nothing_found(type_, len(at))
    column.found[:] = without_value(at)
    return column


def without_value(at: Array) -> Array:
    return np.where(at == UNTOLD, Found.TIMEOUT, Found.NOT_FOUND).astype(np.uint8)


def too_old(column: FeatureColumn) -> FeatureColumn:
    """The column of a view that is older than it may be: all its values are withheld."""
    found = np.minimum(column.found, Found.OUTSIDE_MAX_AGE)
    return column._replace(valid=np.zeros(len(found), bool), found=found)


def decoded(codec: Codec, values: Sequence[bytes], features: Sequence[Feature]) -> list[FeatureColumn]:
    """Decode values of one schema, which has these features; raises `CodecError` unless all values are of it."""
    rows = codec.decode(values)
    as_of, everywhere = rows.as_of.astype(MICROSECONDS), np.full(len(values), Found.FOUND, np.uint8)
    by_name = {feature.name: column for feature, column in zip(codec.features, rows.columns, strict=True)}
    columns = []
    for feature in features:
        one = by_name[feature.name]
        columns.append(
            FeatureColumn(type=feature.type, values=one.values, valid=one.valid, found=everywhere, as_of=as_of)
        )
    return columns


def decoded_apart(
    codecs: Mapping[str, Codec], values: Sequence[bytes], features: Sequence[Feature]
) -> tuple[list[FeatureColumn], int]:
    """Decode values of several schemas, each under its own; `codecs` are those known, by fingerprint.

    A feature that a value's schema lacks, or has with another type, was not found there. Nothing was found in a
    value of an unknown schema or a damaged one; the second result is how many there are.
    """
    columns = [nothing_found(feature.type, len(values)) for feature in features]
    schemas, read = np.array(fingerprints(values)), 0
    for fingerprint in codecs.keys() & set(schemas.tolist()):
        codec = codecs[fingerprint]
        places = [place for place in np.flatnonzero(schemas == fingerprint).tolist() if is_whole(codec, values[place])]
        if places:
            fill(columns, features, codec, [values[place] for place in places], places)
            read += len(places)
    return columns, len(values) - read


def fill(
    columns: Sequence[FeatureColumn],
    features: Sequence[Feature],
    codec: Codec,
    values: Sequence[bytes],
    places: list[int],
) -> None:
    """Decode values of one schema into the places of the columns that they have."""
    known = {(feature.name, feature.type) for feature in codec.features}
    shared = [i for i, feature in enumerate(features) if (feature.name, feature.type) in known]
    for i, column in zip(shared, decoded(codec, values, [features[i] for i in shared]), strict=True):
        into = columns[i]
        into.values[places], into.valid[places], into.found[places] = column.values, column.valid, column.found
        into.as_of[places] = column.as_of


def is_whole(codec: Codec, value: bytes) -> bool:
    try:
        codec.decode([value])
    except CodecError:
        return False
    return True


class OnDemandError(DefinitionError):
    """An on-demand feature whose function fails; the message names it."""


def compute_on_demand(feature: OnDemandFeature, columns: Mapping[str, FeatureColumn], *, now: int) -> FeatureColumn:
    """One on-demand feature of every row; `now` is microseconds since 1970.

    The function sees the rows whose inputs all have values. The others are null, as is a row whose result is
    NaN or NaT. A row was found if all of its inputs were, and is else what the least of them is; it is as new as the
    newest of them.
    """
    inputs = [columns[reference] for reference in feature.inputs]
    column = nothing_found(feature.type, len(inputs[0].values))
    column.found[:] = np.minimum.reduce([one.found for one in inputs])
    found = column.found == Found.FOUND
    column.as_of[found] = np.maximum.reduce([one.as_of for one in inputs])[found]
    complete = np.logical_and.reduce([one.valid for one in inputs])
    if complete.any():
        values, known = results(feature, [one.values[complete] for one in inputs], now=now)
        rows = np.flatnonzero(complete)[known]
        column.values[rows], column.valid[rows] = values, True
    return column


def results(feature: OnDemandFeature, arrays: Sequence[Array], *, now: int) -> tuple[Array, Mask]:
    """The results that are values, in the declared type, and which ones they are."""
    moment: dict[str, Any] = {"now": np.datetime64(now, "us")} if feature.wants_now else {}
    try:
        with np.errstate(all="ignore"):  # a division by zero is answered, not warned of
            result = as_rows(feature.type, feature.compute(*arrays, **moment), rows=len(arrays[0]))
            known = ~is_nothing(feature.type, result)
            return result[known].astype(np.dtype(feature.type.packed.numpy).base), known
    except Exception as error:
        raise OnDemandError(f"on-demand feature {feature.name!r} failed: {type(error).__name__}: {error}") from error


def as_rows(type_: Type, result: Any, *, rows: int) -> Array:
    """What an on-demand feature returned, as one value of its type for each row."""
    dtype = np.dtype(type_.packed.numpy)
    if type_.info.element is not None and dtype.kind == "O":
        return np.fromiter(result, object, rows)
    return np.broadcast_to(np.asarray(result), (rows, *dtype.shape))


def is_nothing(type_: Type, result: Array) -> Mask:
    """Where a result stands for null; an integer has no room for an infinity either, and a vector none for NaN."""
    if result.ndim > 1:
        return np.logical_not(np.isfinite(result).all(axis=1), dtype=bool)
    if result.dtype.kind in "mM":
        return np.isnat(result)
    if result.dtype.kind == "f":
        return np.isnan(result) if np.dtype(type_.packed.numpy).kind == "f" else ~np.isfinite(result)
    if result.dtype.kind == "O":
        return np.array([one is None for one in result], bool)
    return np.zeros(len(result), bool)
