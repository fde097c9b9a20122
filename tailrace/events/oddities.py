"""Files that ought not to be in a landing folder and are there all the same, each with the reason that refuses it.

Every one was met in a real pipeline. The demo and the tests land them next to good files, which have to come through.
"""

import gzip
import json
import os
import socket
import struct
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

EVENT: dict[str, Any] = {
    "event_id": "odd",
    "event_type": "view",
    "actor_id": "u-odd",
    "document_id": "d-odd",
    "occurred_at": "2026-03-01T09:00:00Z",
}


@dataclass(frozen=True)
class Oddity:
    """A file below the folder `events`: its name as quarantine has it, words of the reason that refuses it, and how it comes."""

    name: str
    reason: str
    write: Callable[[Path], object]


def event(number: int = 0, **changes: Any) -> str:
    """An event as a line of JSON."""
    return json.dumps(EVENT | {"event_id": f"odd{number}"} | changes)


LINE = event() + "\n"
LINES = "".join(event(number) + "\n" for number in range(3))


def holding(content: bytes | str) -> Callable[[Path], object]:
    """A file of these bytes."""
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def parquet(**columns: Any) -> Callable[[Path], object]:
    """A Parquet file of one event with other columns."""
    table = pa.table({name: [value] for name, value in EVENT.items()} | columns)
    return lambda path: pq.write_table(table, path)


def cut_parquet(path: Path) -> None:
    """Write a Parquet file without its end."""
    parquet()(path)
    path.write_bytes(path.read_bytes()[:-12])


def stale_checksum(path: Path) -> None:
    """Write a file next to a checksum of other content."""
    path.write_text(LINE)
    path.with_name(f".{path.name}.crc").write_bytes(b"crc\0" + struct.pack(">iI", 512, 0))


def listening(path: Path) -> None:
    """A socket; its path may be longer than an address can be."""
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path.name)


def leading_to(target: str) -> Callable[[Path], object]:
    """A link to a target."""
    return lambda path: path.symlink_to(target)


def in_latin_1(path: Path) -> None:
    """Write a file whose name is not UTF-8."""
    Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.jsonl")).write_text(LINE)


PACKED = gzip.compress(LINE.encode(), mtime=0)
AS_LIST = [json.loads(event(number)) for number in range(3)]

ODDITIES = (
    Oddity("gzip-and-a-line-feed.jsonl.gz", "cannot be read", holding(PACKED + b"\n")),
    Oddity("gzip-and-zeros.jsonl.gz", "cannot be read", holding(PACKED + bytes(512))),
    Oddity("gzip-cut.jsonl.gz", "cannot be read", holding(gzip.compress(LINES.encode() * 40)[:-20])),
    Oddity("text-named-gzip.jsonl.gz", "holds no gzip", holding(LINE)),
    Oddity("empty.jsonl.gz", "holds nothing, not gzip", holding(b"")),
    Oddity("gzip-named-lines.jsonl", "holds gzip", holding(PACKED)),
    Oddity("gzip-twice.json.gz", "holds gzip", holding(gzip.compress(PACKED))),
    Oddity("parquet-named-lines.jsonl", "holds Parquet", parquet()),
    Oddity("lines-named-parquet.parquet", "holds no Parquet", holding(LINE)),
    Oddity("empty.parquet", "holds nothing, not Parquet", holding(b"")),
    Oddity("cut.parquet", "cannot be read", cut_parquet),
    Oddity("utf-16.jsonl", "holds UTF-16", holding(LINES.encode("utf-16"))),
    Oddity("array.json", "holds a JSON array", holding(json.dumps(AS_LIST))),
    Oddity(
        "array-over-lines.json", "holds a JSON array", holding("[\n" + ",\n".join(map(json.dumps, AS_LIST)) + "\n]")
    ),
    Oddity(
        "pretty.json", "an object over several lines", holding("\n".join(json.dumps(one, indent=2) for one in AS_LIST))
    ),
    Oddity("pretty.json.gz", "a JSON array", holding(gzip.compress(json.dumps(AS_LIST, indent=1).encode()))),
    Oddity("firehose.json", "objects one behind the other", holding("".join(map(json.dumps, AS_LIST)))),
    Oddity("old-mac.jsonl", "lines that end in CR only", holding(LINES.replace("\n", "\r"))),
    Oddity("sequence.json", "a JSON text sequence", holding("\x1e" + LINE + "\x1e" + LINE)),
    Oddity("stale-checksum.jsonl", ".stale-checksum.jsonl.crc", stale_checksum),
    Oddity("pipe.jsonl", "a named pipe", os.mkfifo),
    Oddity("pipe.txt", "a named pipe", os.mkfifo),
    Oddity("socket.jsonl", "a socket", listening),
    Oddity("zeros.jsonl", "leads out of the landing folder", leading_to("/dev/zero")),
    Oddity("round", "leads to a folder", leading_to(".")),
    Oddity("up", "leads to a folder", leading_to("..")),
    Oddity("dangling.jsonl", "leads to nothing", leading_to("nowhere.jsonl")),
    Oddity("itself.jsonl", "leads to nothing", leading_to("itself.jsonl")),
    Oddity("caf\\xe9.jsonl", "name is not UTF-8", in_latin_1),
    Oddity("at 10:30.jsonl", "holds a colon", holding(LINE)),
    Oddity("notes.txt", "neither JSON lines", holding(LINE)),
    Oddity("binary-ids.parquet", "document_id is of a type", parquet(document_id=pa.array([b"d1"], pa.binary()))),
    Oddity("uuid-ids.parquet", "event_id is of a type", parquet(event_id=pa.array([b"0" * 16], pa.binary(16)))),
    Oddity("half-floats.parquet", "source is of a type", parquet(source=pa.array([1.5], pa.float16()))),
)


def land_oddities(folder: Path) -> tuple[Oddity, ...]:
    """Write every oddity into a folder among those of the feed `events`; none of them is there before."""
    folder.mkdir(parents=True, exist_ok=True)
    for oddity in ODDITIES:
        oddity.write(folder / oddity.name)
    return ODDITIES
