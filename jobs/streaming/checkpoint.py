"""What the checkpoint of a stream, a local folder that Spark keeps, tells of how far it came."""

import json
from pathlib import Path

from jobs.bronze.batches import LandingError

VERSION = "v1"  # of Spark's files; below it are a line of Spark's own and one of the source


def run_id(checkpoint: Path) -> int:
    """A number for the run of micro-batches that a checkpoint counts: another checkpoint counts from 0 again."""
    return int(json.loads((checkpoint / "metadata").read_text())["id"].replace("-", "")[:15], 16)


def committed_offsets(checkpoint: Path, *, topic: str | None = None) -> dict[int, int]:
    """By partition, the offset of the next message to take; empty before the first micro-batch was written.

    Empty also where the stream followed a folder, or another topic than the one named. Raises `LandingError` for a
    checkpoint of another version of Spark.
    """
    committed = [int(file.name) for file in (checkpoint / "commits").glob("*") if file.name.isdigit()]
    if not committed:
        return {}
    file = checkpoint / "offsets" / str(max(committed))
    version, _, *sources = file.read_text().splitlines()
    if version != VERSION or len(sources) != 1:
        raise LandingError(
            f"{file} is not as Tailrace knows it; was the checkpoint written by another version of Spark?"
        )
    try:
        (name, offsets), *others = json.loads(sources[0]).items()
        reached = {int(partition): int(offset) for partition, offset in offsets.items()}
    except (AttributeError, ValueError):  # files are counted by one number
        return {}
    return {} if others or name != (topic or name) else reached
