"""What a landed file holds, by its first bytes: data under a name that says something else is recognised as a whole."""

import json
from typing import Any

HEAD = 64 * 1024  # bytes that are looked at

GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
BYTES = {
    GZIP: "gzip",
    PARQUET: "Parquet",
    b"PARE": "encrypted Parquet",
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"{\x00": "UTF-16",
    b"\x00{": "UTF-16",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"PK\x03\x04": "a ZIP archive",
    b"\xfd7zXZ\x00": "xz",
    b"ORC": "ORC",
    b"Obj\x01": "Avro",
    b"SQLite format 3\x00": "a SQLite database",
    b"%PDF-": "PDF",
}
WAYS = {
    "gzip": "unpack it, or end its name in .jsonl.gz",
    "Parquet": "end its name in .parquet",
    "encrypted Parquet": "land it without encryption",
    "UTF-16": "write it as UTF-8",
    "UTF-32": "write it as UTF-8",
}
AS_LINES = "write each object on a line of its own"
BLANK = " \t\r\n\ufeff"
DECODER = json.JSONDecoder()


def why_not_lines(head: bytes, *, is_whole: bool) -> str | None:
    """Why a file of JSON lines that begins like this is refused as a whole, None where each line speaks for itself.

    `is_whole` says that there is nothing after these bytes.
    """
    kind = kind_of(head)
    if kind:
        return f"the file holds {kind}, not JSON lines; {WAYS.get(kind, 'convert it to JSON lines or Parquet')}"
    shape = shape_of(head.decode("utf-8", "replace"), is_whole=is_whole)
    return f"the file holds {shape}, not JSON lines; {AS_LINES}" if shape else None


def why_not_gzip(head: bytes) -> str | None:
    """Why a file whose name says gzip is refused by its first bytes."""
    if head.startswith(GZIP):
        return None
    kind = kind_of(head)
    held = f"{kind}, not gzip" if kind else "no gzip"
    return f"the file holds {held}; end its name in what it is (.jsonl, .parquet), or compress it"


def why_not_parquet(head: bytes) -> str | None:
    """Why a file whose name says Parquet is refused by its first bytes."""
    if head.startswith(PARQUET):
        return None
    kind = kind_of(head)
    held = f"{kind}, not Parquet" if kind else "no Parquet"
    return f"the file holds {held}; end its name in what it is (.jsonl, .jsonl.gz), or write it again"


def kind_of(head: bytes) -> str | None:
    """What bytes that are no JSON begin with, None where that is not known."""
    if not head:
        return "nothing"
    return next((kind for first, kind in BYTES.items() if head.startswith(first)), None)


def shape_of(text: str, *, is_whole: bool) -> str | None:
    """The shape of JSON that does not go by lines, None where it does or where it is not JSON."""
    text = text.lstrip(BLANK)
    if text.startswith("\x1e"):
        return "a JSON text sequence"
    first, _, rest = text.partition("\n")
    is_all_of_it = is_whole and not rest.strip(BLANK)
    value, end = decode(first)
    if end is None:
        return spread_shape(text, is_whole=is_whole)
    if first[end:].strip(BLANK):
        return several_shape(first, end) if is_all_of_it else None
    return "a JSON array" if is_all_of_it and is_list_of_objects(value) else None


def spread_shape(text: str, *, is_whole: bool) -> str | None:
    """The shape of what begins with a line that is not JSON by itself."""
    value, end = decode(text)
    if end is None and not is_whole:  # cut off by the end of the head
        opened = text[1:].lstrip(BLANK)[:1]
        if text[:1] == "[" and opened in {"{", "["}:
            return "a JSON array"
        return "an object over several lines" if text[:1] == "{" and text[1:].lstrip(" \t\r")[:1] == "\n" else None
    if isinstance(value, list):
        return "a JSON array"
    return "an object over several lines" if isinstance(value, dict) else None


def several_shape(line: str, end: int) -> str | None:
    """The shape of a single line that has more behind its first value."""
    value, _ = decode(line[end:].lstrip(BLANK))
    if not isinstance(value, dict):
        return None
    return "lines that end in CR alone" if line[end] == "\r" else "objects one behind the other"


def is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(one, dict) for one in value)


def decode(text: str) -> tuple[Any, int | None]:
    """The JSON value at the beginning of a text and where it ends, or no end where there is none."""
    try:
        return DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None, None
