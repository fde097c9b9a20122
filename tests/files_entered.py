"""Which files of the product some code runs through: how much a maintainer has to open to follow it."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]


@contextmanager
def files_entered(*packages: str) -> Iterator[set[str]]:
    """Fill a set, at the end, with the files whose functions ran in this process; importing a module does not count."""
    names, files = set[str](), set[str]()

    def note(frame: FrameType, *_: Any) -> None:
        if frame.f_code.co_name != "<module>":
            names.add(frame.f_code.co_filename)

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield files
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    inside = (path.relative_to(ROOT) for path in map(Path, names) if path.is_relative_to(ROOT))
    files.update(str(path) for path in inside if path.parts[0] in packages)
