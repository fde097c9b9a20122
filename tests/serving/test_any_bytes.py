"""Whatever bytes the store holds: a value is read whole or counted as unreadable, and the others are none the worse."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.read.columns import decoded, decoded_apart
from tailrace.definitions import Feature, Type
from tailrace.store.codec import Codec, CodecError, ColumnValues

FEATURES = (
    Feature("opens", Type.INT64, ""),
    Feature("title", Type.STRING, ""),
    Feature("share", Type.FLOAT64, ""),
    Feature("is_new", Type.BOOL, ""),
    Feature("owner", Type.STRING, ""),
    Feature("seen_at", Type.TIMESTAMP, ""),
)
OLDER = FEATURES[2:5]
NEWEST = Codec("visits", FEATURES)
CODECS = {codec.fingerprint: codec for codec in (NEWEST, Codec("visits", OLDER))}
SAMPLES = {
    Type.INT64: np.array([7]),
    Type.STRING: np.array(["ümlaut"], object),
    Type.FLOAT64: np.array([0.5]),
    Type.BOOL: np.array([True]),
    Type.TIMESTAMP: np.array([9], "M8[us]"),
}


def whole(features, *, null=()):
    columns = [ColumnValues(SAMPLES[one.type], np.array([one.name not in null])) for one in features]
    return Codec("visits", features).encode(columns, as_of=5)[0]


WHOLE = [whole(FEATURES), whole(FEATURES, null={"title", "opens"}), whole(OLDER), whole(FEATURES, null={"owner"})]


@st.composite
def damaged(draw):
    """A whole value of which some bytes are others, or that is cut off or goes on."""
    value = bytearray(draw(st.sampled_from(WHOLE)))
    for at in draw(st.lists(st.integers(0, len(value) - 1), max_size=4)):
        value[at] = draw(st.integers(0, 255))
    return bytes(value[: draw(st.integers(0, len(value)))]) + draw(st.binary(max_size=6))


values = st.lists(st.sampled_from(WHOLE) | damaged() | st.binary(max_size=64), max_size=8)


@given(values)
def test_a_codec_reads_all_values_or_says_what_is_wrong_with_one(found):
    for codec in CODECS.values():
        try:
            rows = codec.decode(found)
        except CodecError:
            continue
        assert [len(column.values) for column in rows.columns] == [len(found)] * len(codec.features)
        for feature, column in zip(codec.features, rows.columns, strict=True):
            assert feature.type is not Type.STRING or {type(text) for text in column.values[column.valid]} <= {str}


@given(values)
def test_among_any_others_a_whole_value_is_read_as_it_is_alone(found):
    columns, unreadable = decoded_apart(CODECS, found, FEATURES)

    assert 0 <= unreadable <= sum(value not in WHOLE for value in found)
    for place, value in enumerate(found):
        if value == WHOLE[0]:
            [alone] = zip(*(cells(column) for column in decoded(NEWEST, [value], FEATURES)), strict=True)
            assert tuple(cells(column)[place] for column in columns) == alone


def cells(column):
    rows = zip(column.values.tolist(), column.valid.tolist(), column.found.tolist(), column.as_of.tolist(), strict=True)
    return list(rows)
