"""Values of one view as columns, one row per value, also where they were written under an older schema."""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.read.columns import Column, Found, nothing_found
from tailrace.schemas.tables import Column as Feature
from tailrace.store.codec import MICROSECONDS, Codec, CodecError, fingerprints


def decoded(codec: Codec, values: Sequence[bytes], features: Sequence[Feature]) -> list[Column]:
    """Decode values of one schema, which has these features; raises `CodecError` unless all values are of it."""
    rows = codec.decode(values)
    as_of, everywhere = rows.as_of.astype(MICROSECONDS), np.full(len(values), Found.FOUND, np.uint8)
    by_name = {feature.name: column for feature, column in zip(codec.features, rows.columns, strict=True)}
    columns = []
    for feature in features:
        one = by_name[feature.name]
        columns.append(Column(type=feature.type, values=one.values, valid=one.valid, found=everywhere, as_of=as_of))
    return columns


def decoded_apart(
    codecs: Mapping[str, Codec], values: Sequence[bytes], features: Sequence[Feature]
) -> tuple[list[Column], int]:
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
    columns: Sequence[Column], features: Sequence[Feature], codec: Codec, values: Sequence[bytes], places: list[int]
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
