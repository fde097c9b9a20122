"""Hand a finished segment of the log to the landing folder, from where the next refresh takes it to bronze."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson
import pyarrow as pa
import pyarrow.fs

from contracts import landing
from contracts.slots import from_micros, to_text
from online.direct.log import Intent, LogError, Segment, sync_folder


def deliver(segment: Segment, landing_folder: str) -> None:
    """Land what was written of a segment whose outcomes are all known, and remove the segment.

    Cut off and done again, it lands the same file once more. Raises `LogError` where the folder does not take it.
    """
    intents, outcomes = segment.read()
    written = frozenset(outcomes.written)
    if unknown := {intent.number for intent in intents} - written - {*outcomes.kept_out}:
        raise LogError(f"{segment.path}: of {len(unknown)} writes it is not known what became of them")
    lines = b"".join(lines_of(intent for intent in intents if intent.number in written))
    if lines:
        land(lines, name=f"{segment.path.stem}.jsonl", folder=landing.DIRECT_WRITES.folder(landing_folder))
    segment.remove()


def lines_of(intents: Iterator[Intent]) -> Iterator[bytes]:
    for intent in intents:
        yield orjson.dumps(
            {
                "view": intent.view,
                "keys": intent.keys,
                "occurred_at": to_text(from_micros(intent.occurred_at)),
                "revision": intent.revision,
                "values": intent.values,
                "accepted_at": to_text(from_micros(intent.accepted_at)),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )


def land(content: bytes, *, name: str, folder: str) -> None:
    """Write a file durably and whole, on disk or in an object store that Arrow knows."""
    try:
        if urlsplit(folder).scheme in {"", "file"}:
            land_on_disk(content, Path(unquote(urlsplit(folder).path) if "://" in folder else folder), name)
        else:
            system, path = pyarrow.fs.FileSystem.from_uri(folder.replace("s3a://", "s3://", 1))
            with system.open_output_stream(f"{path}/{name}") as stream:
                stream.write(content)
    except (OSError, pa.ArrowException) as error:
        raise LogError(f"{folder}/{name}: direct writes cannot be landed: {error}") from error


def land_on_disk(content: bytes, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.tmp"
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / name)
    sync_folder(folder)
