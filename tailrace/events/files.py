"""Files of events, and what is wrong with them."""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tailrace.errors import DataError
from tailrace.schemas.landing import LINE_SUFFIXES, PARQUET_SUFFIX
from tailrace.schemas.slots import to_text


class EventsError(DataError):
    """Anything wrong with events or their files; the message names it and says what to do."""


class WorkspaceError(EventsError):
    """A workspace that cannot be invented; the message names the field."""


class HistoryError(EventsError):
    """A git history that cannot be read; the message names the repository."""


class LandingFileError(EventsError):
    """A file that cannot be read or written; the message names it."""


class NoReadableTimeError(EventsError):
    """No event with a readable time, so no tick can be chosen."""


WRITTEN_SUFFIXES = (".jsonl", ".jsonl.gz")
PARQUET_BATCH = 8_192  # rows
MICROSECONDS = pa.timestamp("us", tz="UTC")


def write_lines(rows: Iterable[Mapping[str, Any] | bytes], path: Path) -> int:
    """Write one line per row and return how many; bytes stand as they are, such as a line that `read_event_rows` gave.

    The file appears under its name only when it is whole and on disk, and never replaces another. Equal rows
    give equal bytes, compressed or not.
    """
    if not path.name.endswith(WRITTEN_SUFFIXES):
        raise LandingFileError(f"{path}: cannot be written; name it {' or '.join(WRITTEN_SUFFIXES)}")
    refuse_existing([path])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            written = _write(rows, file, path=path)
            file.flush()
            os.fsync(file.fileno())
        _give_final_name(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return written


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise if one of the files is there already."""
    for path in paths:
        if path.exists():
            raise _is_there_already(path)


def read_event_rows(path: Path) -> Iterator[bytes]:
    """Give each row of a landing file as the bytes of one JSON object.

    Lines are given as they are, readable or not, without their line feed; blank ones are left out. Rows of a
    Parquet file are turned into JSON.
    """
    if not path.is_file():
        raise LandingFileError(f"{path}: no such file; check the path")
    if path.name.endswith(PARQUET_SUFFIX):
        return _parquet_rows(path)
    if path.name.endswith(LINE_SUFFIXES):
        return _lines(path)
    known = ", ".join((*LINE_SUFFIXES, PARQUET_SUFFIX))
    raise LandingFileError(f"{path}: has no known format; give a file that ends in one of {known}")


def _write(rows: Iterable[Mapping[str, Any] | bytes], file: BinaryIO, *, path: Path) -> int:
    if path.suffix != ".gz":
        return _write_each(rows, file, path=path)
    # A name or time in the header would make equal rows differ.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as packed:
        return _write_each(rows, cast(BinaryIO, packed), path=path)


def _write_each(rows: Iterable[Mapping[str, Any] | bytes], file: BinaryIO, *, path: Path) -> int:
    written = 0
    for written, row in enumerate(rows, start=1):
        try:
            line = row if isinstance(row, bytes) else orjson.dumps(row)
        except orjson.JSONEncodeError as error:
            raise LandingFileError(
                f"{path}: row {written} cannot be written as JSON ({error}); correct the row"
            ) from error
        if b"\n" in line:
            raise LandingFileError(f"{path}: row {written} holds a line feed; give one line per row")
        file.write(line + b"\n")
    return written


def _give_final_name(temporary: Path, path: Path) -> None:
    try:
        # Not a rename: that would silently replace a file that another writer finished meanwhile.
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise _is_there_already(path) from error
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _is_there_already(path: Path) -> LandingFileError:
    return LandingFileError(f"{path} is there already, and landed files never change; move it or land elsewhere")


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield line.removesuffix(b"\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise LandingFileError(f"{path}: broken gzip data ({error}); fetch the file again") from error


def _parquet_rows(path: Path) -> Iterator[bytes]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH):
                for row in _in_microseconds(batch).to_pylist(maps_as_pydicts="lossy"):
                    yield orjson.dumps(row, default=_json_value, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise LandingFileError(f"{path}: cannot be read as Parquet ({error}); write it again") from error


def _in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Cast the time columns, which may be nanoseconds or without a zone, to microseconds UTC."""
    columns = [
        column.cast(MICROSECONDS, safe=False) if pa.types.is_timestamp(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _json_value(value: object) -> str:
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)
