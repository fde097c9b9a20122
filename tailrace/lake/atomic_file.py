"""Local files that somebody may read at any moment."""

from pathlib import Path
from uuid import uuid4


def put(path: Path, text: str) -> None:
    """Write a file: a reader sees the old one or the new one, and of two writers one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid4().hex}.partial")
    partial.write_text(text)
    partial.replace(path)
