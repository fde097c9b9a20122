import gzip
from datetime import date
from decimal import Decimal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events.files import LandingFileError, read_event_rows, refuse_existing, write_lines

ROW = {"event_id": "e1", "document_id": "atlas:Überblick\n2.md", "size": 3, "attributes": {"client": "web"}}
OTHER = ROW | {"event_id": "e2"}
UNREADABLE = [b'{"event_id":', b"\xff\xfe", b"  indented", b"[]", b"ends in a return\r"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_rows_written_are_the_rows_read(tmp_path, name):
    path = tmp_path / "events" / name

    written = write_lines((row for row in (ROW, OTHER)), path)

    assert written == 2
    assert [orjson.loads(line) for line in read_event_rows(path)] == [ROW, OTHER]
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_no_rows_make_an_empty_file(tmp_path):
    assert write_lines([], tmp_path / "none.jsonl.gz") == 0
    assert list(read_event_rows(tmp_path / "none.jsonl.gz")) == []


def test_equal_rows_give_equal_bytes(tmp_path, monkeypatch):
    paths = [tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"]

    write_lines([ROW], paths[0])
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    write_lines([ROW], paths[1])

    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_unreadable_lines_travel_unchanged(tmp_path):
    landed = tmp_path / "landed.jsonl.gz"
    source = tmp_path / "source.ndjson"
    source.write_bytes(b"\n".join([*UNREADABLE, b"", b" \r", b"last without a line feed"]))

    write_lines(read_event_rows(source), landed)

    assert list(read_event_rows(landed)) == [*UNREADABLE, b"last without a line feed"]


@given(lines=st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line and line.strip())))
def test_any_line_survives_a_round_trip(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("lines") / "any.jsonl"

    assert write_lines(lines, path) == len(lines)
    assert list(read_event_rows(path)) == lines


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json"])
def test_every_name_of_json_lines_is_read_plain_and_compressed(tmp_path, suffix):
    plain, packed = tmp_path / f"rows{suffix}", tmp_path / f"rows{suffix}.gz"
    plain.write_bytes(b"{}\n[1]\n")
    packed.write_bytes(gzip.compress(b"{}\n[1]\n"))

    assert list(read_event_rows(plain)) == list(read_event_rows(packed)) == [b"{}", b"[1]"]


def test_parquet_rows_are_read_as_json(tmp_path):
    path = tmp_path / "rows.parquet"
    ten = 1_767_348_000_000_000_007
    columns = {
        "event_id": pa.array(["e1", None]),
        "occurred_at": pa.array([ten, None], pa.timestamp("ns")),
        "ingested_at": pa.array([ten // 1_000_000_000, 0], pa.timestamp("s", tz="Europe/Berlin")),
        "attributes": pa.array([[("client", "web")], None], pa.map_(pa.string(), pa.string())),
        "size": pa.array([2**62, None]),
        "raw": pa.array([b"a\xff", None]),
        "day": pa.array([date(2026, 1, 2), None]),
        "price": pa.array([Decimal("1.50"), None]),
    }
    pq.write_table(pa.table(columns), path)

    first, second = (orjson.loads(row) for row in read_event_rows(path))

    assert first == {
        "event_id": "e1",
        "occurred_at": "2026-01-02T10:00:00Z",
        "ingested_at": "2026-01-02T10:00:00Z",
        "attributes": {"client": "web"},
        "size": 2**62,
        "raw": "a\\xff",
        "day": "2026-01-02",
        "price": "1.50",
    }
    assert second == dict.fromkeys(first) | {"ingested_at": "1970-01-01T00:00:00Z"}


def test_parquet_files_longer_than_a_batch_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("tailrace.events.files.PARQUET_BATCH", 2)
    pq.write_table(pa.table({"id": ["a", "b", "c", "d", "e"]}), tmp_path / "rows.parquet")

    rows = [orjson.loads(row)["id"] for row in read_event_rows(tmp_path / "rows.parquet")]

    assert rows == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_nothing_remains_when_writing_fails(tmp_path, name):
    def rows():
        yield from [ROW] * 10_000
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_lines(rows(), tmp_path / name)

    assert list(tmp_path.iterdir()) == []


def test_file_has_a_temporary_name_until_it_is_whole(tmp_path):
    names: list[str] = []

    def rows():
        yield ROW
        names.extend(path.name for path in tmp_path.iterdir())

    write_lines(rows(), tmp_path / "rows.jsonl")

    assert len(names) == 1
    assert names[0].startswith(".")
    assert names[0].endswith(".tmp")


def test_file_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced: list[bool] = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append((tmp_path / "rows.jsonl").exists()))

    write_lines([ROW], tmp_path / "rows.jsonl")

    assert synced == [False, True]  # the file, then the folder that names it


def test_landed_file_is_never_replaced(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines([ROW], path)

    with pytest.raises(LandingFileError, match=r"rows\.jsonl is there already.*land elsewhere"):
        write_lines([OTHER], path)

    assert path.read_bytes() == orjson.dumps(ROW) + b"\n"


def test_rows_for_a_file_that_is_there_are_not_even_made(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    rows = iter([ROW])

    with pytest.raises(LandingFileError, match="is there already"):
        write_lines(rows, tmp_path / "rows.jsonl")

    assert list(rows) == [ROW]


def test_file_that_appears_meanwhile_is_not_replaced_either(tmp_path):
    path = tmp_path / "rows.jsonl"

    def rows():
        path.write_bytes(b"another writer's\n")
        yield ROW

    with pytest.raises(LandingFileError, match="is there already"):
        write_lines(rows(), path)

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"rows.jsonl": b"another writer's\n"}


def test_existing_files_are_refused_by_name(tmp_path):
    (tmp_path / "b.jsonl").touch()

    refuse_existing([tmp_path / "a.jsonl"])
    with pytest.raises(LandingFileError, match=r"b\.jsonl is there already"):
        refuse_existing([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])


@pytest.mark.parametrize(
    ("row", "message"),
    [({"id": "\ud800"}, "row 2 cannot be written as JSON"), (b"two\nlines", "row 2 holds a line feed")],
)
def test_row_that_is_no_line_is_refused(tmp_path, row, message):
    with pytest.raises(LandingFileError, match=message):
        write_lines([ROW, row], tmp_path / "rows.jsonl")


def test_other_formats_are_not_written(tmp_path):
    with pytest.raises(LandingFileError, match=r"rows\.csv: cannot be written; name it \.jsonl or \.jsonl\.gz"):
        write_lines([ROW], tmp_path / "rows.csv")


def test_unknown_format_is_refused_before_the_first_row(tmp_path):
    (tmp_path / "rows.csv").touch()

    with pytest.raises(LandingFileError, match=r"rows\.csv: has no known format; .*\.ndjson\.gz.*\.parquet"):
        read_event_rows(tmp_path / "rows.csv")


def test_missing_file_is_refused_before_the_first_row(tmp_path):
    with pytest.raises(LandingFileError, match=r"rows\.jsonl: no such file"):
        read_event_rows(tmp_path / "rows.jsonl")


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"{}\n" * 100)[:-10], gzip.compress(b"{}")[:10] + b"\xff" * 9],
    ids=["not gzip", "cut off", "no deflate"],
)
def test_broken_gzip_names_the_file(tmp_path, content):
    (tmp_path / "rows.jsonl.gz").write_bytes(content)

    with pytest.raises(LandingFileError, match=r"rows\.jsonl\.gz: broken gzip data"):
        list(read_event_rows(tmp_path / "rows.jsonl.gz"))


@pytest.mark.parametrize("damaged", ["all", "a page", "nothing but a key that is no text"])
def test_unusable_parquet_names_the_file(tmp_path, damaged):
    path = tmp_path / "rows.parquet"
    numbers = pa.array([[(1, "web")]], pa.map_(pa.int64(), pa.string()))
    pq.write_table(pa.table({"id": ["a"] * 1_000} if damaged == "a page" else {"attributes": numbers}), path)
    if damaged == "all":
        path.write_bytes(b"PAR1 and no more")
    if damaged == "a page":
        path.write_bytes(path.read_bytes()[:4] + b"\xff" * 30 + path.read_bytes()[34:])

    with pytest.raises(LandingFileError, match=r"rows\.parquet: cannot be read as Parquet"):
        list(read_event_rows(tmp_path / "rows.parquet"))
