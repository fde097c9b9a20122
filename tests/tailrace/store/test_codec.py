import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.schemas.tables import Column, Type
from tailrace.store.codec import HEADER, Codec, CodecError, ColumnValues, SchemaMismatch, fingerprints, payload

DTYPES = {Type.INT64: "i8", Type.FLOAT64: "f8", Type.BOOL: "?", Type.TIMESTAMP: "M8[us]", Type.STRING: "O"}
EMPTY = {Type.INT64: 7, Type.FLOAT64: 7.5, Type.BOOL: True, Type.TIMESTAMP: 7, Type.STRING: None}
MINIMUM, MAXIMUM = -(2**63), 2**63 - 1
VALUES = {
    Type.INT64: st.integers(MINIMUM, MAXIMUM) | st.sampled_from([MINIMUM, MAXIMUM, 0]),
    Type.FLOAT64: st.floats() | st.sampled_from([float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]),
    Type.BOOL: st.booleans(),
    Type.TIMESTAMP: st.integers(MINIMUM + 1, MAXIMUM) | st.sampled_from([MINIMUM + 1, MAXIMUM, 0, -1]),
    Type.STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["", "ß", "漢字", "\0"]),
}
FEATURES = (
    Column("count", Type.INT64, "an integer"),
    Column("title", Type.STRING, "a text"),
    Column("share", Type.FLOAT64, "a fraction"),
    Column("is_new", Type.BOOL, "a truth"),
    Column("owner", Type.STRING, "another text"),
    Column("seen_at", Type.TIMESTAMP, "a time"),
)
ROW = (3, "a title", 0.25, True, "ada", 1_000_001)
AS_OF = 1_772_355_600_000_000


def columns_of(features, rows):
    """Columns of rows of plain values, times as microseconds; what stands where a value is null is not looked at."""
    columns = []
    for number, feature in enumerate(features):
        values = [row[number] for row in rows]
        filled = [EMPTY[feature.type] if value is None else value for value in values]
        array = np.array(filled, dtype="i8" if feature.type is Type.TIMESTAMP else DTYPES[feature.type])
        columns.append(
            ColumnValues(array.astype(DTYPES[feature.type]), np.array([v is not None for v in values], bool))
        )
    return columns


def encode(features, rows, *, as_of=AS_OF):
    return Codec("visits", features).encode(columns_of(features, rows), as_of=as_of)


def bits(type_, value):
    """A value by which equality is told, NaN and the sign of zero included."""
    if type_ is Type.FLOAT64:
        return "nan" if np.isnan(value) else struct.pack("<d", value)
    return int(value.astype("i8")) if type_ is Type.TIMESTAMP else value


def plain(decoded, features):
    """Rows of decoded columns, None where a value is null."""
    columns = [
        [bits(feature.type, value) if valid else None for value, valid in zip(one.values, one.valid, strict=True)]
        for feature, one in zip(features, decoded.columns, strict=True)
    ]
    return list(zip(*columns, strict=True))


def plain_of(features, rows):
    def one(type_, value):
        if value is None or type_ is Type.TIMESTAMP:
            return value
        return bits(type_, value)

    return [tuple(one(f.type, value) for f, value in zip(features, row, strict=True)) for row in rows]


@st.composite
def tables(draw):
    types = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=20))
    features = tuple(Column(f"f{number}", type_, "") for number, type_ in enumerate(types))
    row = st.tuples(*(st.none() | VALUES[type_] for type_ in types))
    return features, draw(st.lists(row, min_size=1, max_size=8))


@given(tables(), st.integers(MINIMUM, MAXIMUM))
def test_every_value_of_every_type_comes_back(table, as_of):
    features, rows = table

    decoded = Codec("visits", features).decode(encode(features, rows, as_of=as_of))

    assert plain(decoded, features) == plain_of(features, rows)
    assert decoded.as_of.tolist() == [as_of] * len(rows)
    assert [column.values.dtype for column in decoded.columns] == [np.dtype(DTYPES[one.type]) for one in features]


@given(tables(), st.integers(0, MAXIMUM), st.integers(MINIMUM, -1))
def test_equal_rows_have_equal_payloads_whenever_they_were_written(table, as_of, other):
    features, rows = table

    one, two = encode(features, rows, as_of=as_of), encode(features, rows, as_of=other)

    assert [payload(value) for value in one] == [payload(value) for value in two]
    assert all(value != again for value, again in zip(one, two, strict=True))


@given(tables())
def test_a_row_has_the_same_bytes_alone_and_among_others(table):
    features, rows = table

    assert encode(features, rows) == [encode(features, [row])[0] for row in rows]


@given(tables())
def test_different_rows_have_different_payloads(table):
    features, rows = table

    by_payload: dict[bytes, object] = {}
    for row, value in zip(plain_of(features, rows), encode(features, rows), strict=True):
        assert by_payload.setdefault(payload(value), row) == row


@pytest.mark.parametrize("nan_bits", [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000001])
def test_every_nan_has_the_same_payload(nan_bits):
    features = (Column("share", Type.FLOAT64, ""),)
    values = np.array([nan_bits], dtype="u8").view("f8")

    [value] = Codec("visits", features).encode([ColumnValues(values, np.array([True]))], as_of=AS_OF)

    assert payload(value) == struct.pack("<d", float("nan")) + b"\0"


def test_the_sign_of_zero_is_kept():
    features = (Column("share", Type.FLOAT64, ""),)
    codec = Codec("visits", features)

    [share] = codec.decode(encode(features, [(-0.0,), (0.0,)])).columns

    assert np.signbit(share.values).tolist() == [True, False]


def test_the_layout_is_the_one_that_is_written_down():
    [value] = encode(FEATURES, [ROW])

    header = struct.pack("<2sBBIQq", b"TR", 1, 0, len(value), int(Codec("v", FEATURES).fingerprint, 16), AS_OF)
    slots = struct.pack("<qIdBIq", 3, 7, 0.25, 1, 10, 1_000_001)
    assert value == header + slots + b"\0" + b"a titleada"


def test_null_slots_are_zero_and_one_bit_each_says_so():
    [value] = encode(FEATURES, [(None,) * 6])

    assert payload(value) == bytes(8 + 4 + 8 + 1 + 4 + 8) + b"\x3f"


def test_a_null_between_texts_takes_no_room():
    rows = [("a", None, "ccc"), (None, "bb", None), ("", "", "")]
    features = tuple(Column(name, Type.STRING, "") for name in ("x", "y", "z"))

    values = encode(features, rows)

    assert plain(Codec("visits", features).decode(values), features) == rows
    assert [value[-4:] for value in values[:1]] == [b"accc"]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 100])
def test_any_number_of_features_has_bits_enough(count):
    features = tuple(Column(f"f{number}", Type.BOOL, "") for number in range(count))
    rows = [
        tuple(None if (number + shift) % 3 == 0 else number % 2 == 0 for number in range(count)) for shift in (0, 1)
    ]

    values = encode(features, rows)

    assert plain(Codec("visits", features).decode(values), features) == rows
    assert {len(payload(value)) for value in values} == {count + -(-count // 8)}


def test_many_rows_come_back_in_their_order():
    rows = [(number, f"title {number}", number / 3, number % 2 == 0, "", -number) for number in range(5_000)]

    decoded = Codec("visits", FEATURES).decode(encode(FEATURES, rows))

    assert plain(decoded, FEATURES) == plain_of(FEATURES, rows)


def test_no_rows_are_no_values_and_no_values_no_rows():
    codec = Codec("visits", FEATURES)

    assert encode(FEATURES, []) == []
    assert [len(column.values) for column in codec.decode([]).columns] == [0] * 6


@pytest.mark.parametrize(
    "features", [FEATURES[:-1], FEATURES[::-1], (*FEATURES[:-1], Column("at", Type.TIMESTAMP, ""))]
)
def test_a_value_of_another_schema_is_refused_naming_both(features):
    [value] = encode(features, [ROW[: len(features)] if features[0] == FEATURES[0] else ROW[::-1]])
    ours, theirs = Codec("visits", FEATURES).fingerprint, Codec("visits", features).fingerprint

    with pytest.raises(SchemaMismatch, match=f"^view visits: .* schema {theirs}, this reader has {ours}$"):
        Codec("visits", FEATURES).decode([encode(FEATURES, [ROW])[0], value])


def test_a_schema_is_told_from_the_value_alone():
    assert fingerprints(encode(FEATURES, [ROW, ROW])) == [Codec("v", FEATURES).fingerprint] * 2


@pytest.mark.parametrize("features", [FEATURES, FEATURES[2:4]], ids=["with texts", "without"])
def test_a_value_cut_off_anywhere_or_too_long_is_refused(features):
    row = tuple(ROW[FEATURES.index(feature)] for feature in features)
    [value] = encode(features, [row])
    codec = Codec("visits", features)
    damaged = [value[:end] for end in range(len(value))] + [value + b"\0", value + value]

    for one in damaged:
        with pytest.raises(CodecError, match=r"^view visits: a value (of \d+ bytes|is cut off|is not in layout)"):
            codec.decode([value, one])


def test_a_short_value_whose_header_says_so_is_refused():
    [value] = encode(FEATURES, [ROW])
    short = bytearray(value[:30])
    short[4:8] = struct.pack("<I", 30)

    with pytest.raises(CodecError, match="a value of 30 bytes is shorter than its"):
        Codec("visits", FEATURES).decode([bytes(short)])


@pytest.mark.parametrize(("at", "byte"), [(0, b"X"), (1, b"r"), (2, b"\0"), (2, b"\2")], ids=["T", "R", "0", "2"])
def test_another_magic_or_layout_is_refused(at, byte):
    [value] = encode(FEATURES, [ROW])

    with pytest.raises(CodecError, match=r"^view visits: a value is not in layout 1") as refusal:
        Codec("visits", FEATURES).decode([value[:at] + byte + value[at + 1 :]])

    assert not isinstance(refusal.value, SchemaMismatch)


def test_a_text_that_is_not_utf_8_is_refused_naming_its_feature():
    [value] = encode(FEATURES, [ROW])

    with pytest.raises(CodecError, match=r"^view visits, feature owner: a value is not UTF-8"):
        Codec("visits", FEATURES).decode([value[:-1] + b"\xff"])


@pytest.mark.parametrize("ends", [(11, 10), (7, 9)])
def test_texts_that_end_where_they_cannot_are_refused(ends):
    [value] = encode(FEATURES, [ROW])
    damaged = bytearray(value)
    damaged[32:36], damaged[45:49] = (struct.pack("<I", end) for end in ends)
    assert struct.unpack_from("<I", value, 32) + struct.unpack_from("<I", value, 45) == (7, 10)

    with pytest.raises(CodecError):
        Codec("visits", FEATURES).decode([bytes(damaged)])


def test_a_header_takes_24_bytes():
    assert HEADER.itemsize == 24
