"""Hand a finished segment of the log to the landing folder, from where the next refresh takes it to bronze."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from contracts import landing
from online.direct.log import LogError, Segment, sync_folder


def deliver(segment: Segment, landing_folder: str) -> None:
    """Land what was written of a segment whose outcomes are all known, and remove the segment.

    Cut off and done again, it lands the same file once more. Raises `LogError` where the folder does not take it.
    """
    if lines := segment.lines_written():
        folder = landing.DIRECT_WRITES.folder(landing_folder)
        land(b"".join(lines), name=f"{segment.path.stem}.jsonl", folder=folder)
    segment.remove()


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
