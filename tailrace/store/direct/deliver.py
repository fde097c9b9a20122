"""Hand what was written from a segment of the log to the landing folder, from where the next refresh takes it to bronze."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson
import pyarrow as pa

from tailrace.schemas import landing
from tailrace.store.direct.log import Contents, LogError, Segment, sync_folder


def deliver(segment: Segment, landing_folder: str) -> Contents:
    """Land what is known to be written of a segment, and remove the segment once nothing of it is left to do.

    Cut off and done again, it lands the same files once more. Raises `LogError` where the folder does not take them;
    returns what the segment holds.
    """
    contents = Contents.read(segment.path)
    has_unknown = bool(contents.intents.keys() - contents.written.keys() - contents.kept_out)
    if new := contents.unlanded:
        if has_unknown or contents.damage:  # more may be written later: what this landing has is written down before
            segment.append([orjson.dumps({"landing": new}, option=orjson.OPT_APPEND_NEWLINE)])
        contents.landings.append(new)
    for number, landed in enumerate(contents.landings):
        if number >= contents.confirmed:
            name = f"{segment.path.stem}{f'-{number}' if number else ''}.jsonl"
            land(contents.lines(landed), name=name, folder=landing.DIRECT_WRITES.folder(landing_folder))
    if not has_unknown and not contents.damage:
        segment.remove()
    elif contents.confirmed < len(contents.landings):
        contents.confirmed = len(contents.landings)
        segment.append([orjson.dumps({"landed": contents.confirmed}, option=orjson.OPT_APPEND_NEWLINE)])
    return contents


def land(content: bytes, *, name: str, folder: str) -> None:
    """Write a file durably and whole, on disk or in an object store that Arrow knows."""
    try:
        if urlsplit(folder).scheme in {"", "file"}:
            land_on_disk(content, Path(unquote(urlsplit(folder).path) if "://" in folder else folder), name)
        else:
            from pyarrow.fs import FileSystem  # 9 MB in every reader, of which few land elsewhere

            system, path = FileSystem.from_uri(folder.replace("s3a://", "s3://", 1))
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
