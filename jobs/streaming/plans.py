"""Which files of a folder the stream takes next: each set of new ones is a plan, a file beside Spark's own checkpoint.

Spark follows the folder of plans. The landing folder it must not list itself: it follows links in circles, and passes over
names that it cannot read without a word.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jobs.bronze.landing import is_temporary
from jobs.streaming.checkpoint import log_of, logged_files
from tailrace.lake.storage import StoredFile, walk
from tailrace.schemas import landing

log = logging.getLogger(__name__)

PLAN = ".plan"
BYTES_AT_ONCE = 8 * 2**20  # of a plan, compressed or not; one file is taken whole
LOOK_SECONDS, LOOKING = 0.2, 0.05  # from one look to the next, at least, and of the time that looks may take


def plans_of(checkpoint: Path) -> Path:
    """The folder of the plans."""
    return checkpoint / "plans"


class Plans:
    """The files of a folder that are planned for the stream of a checkpoint; one process at a time makes plans."""

    def __init__(self, folder: str, checkpoint: Path) -> None:
        self.folder, self.checkpoint = folder, checkpoint
        self._lock = threading.Lock()
        entries = log_of(checkpoint).glob("*")
        self._known = {name for _, path in logged_files(entries) for name in planned_by(path, folder, checkpoint)}
        self._last = 0
        for plan in plans_of(checkpoint).glob(f"*{PLAN}"):
            self._known.update(json.loads(plan.read_text()))
            self._last = max(self._last, int(plan.stem))
        self._began = self._listed = 0.0

    @property
    def listed(self) -> float:
        """Up to when all that landed is planned for long enough that Spark knows it, in seconds since 1970."""
        return self._listed

    def look(self) -> None:
        """Plan what has landed since the last look; the folders are made where they are missing."""
        with self._lock:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
            plans_of(self.checkpoint).mkdir(parents=True, exist_ok=True)
            before, self._began = self._began, time.time()
            new = [file for file in walk(self.folder) if self._is_new(file)]
            # Of what comes in several micro-batches the oldest is first: a watermark tells of all that landed before.
            for names in in_parts(sorted(new, key=lambda file: (file.modified_at, file.name))):
                self._last += 1
                write(plans_of(self.checkpoint) / f"{self._last:010}{PLAN}", names, number=self._last)
                self._known.update(names)
            self._listed = before

    def _is_new(self, file: StoredFile) -> bool:
        is_lines = file.name.lower().endswith(landing.LINE_SUFFIXES)
        return is_lines and file.name not in self._known and not is_temporary(file.name)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look again and again, beside what is done inside, from the first look on that is made there."""
        over = threading.Event()
        thread = threading.Thread(target=self._keep_looking, args=(over,), name="plans", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _keep_looking(self, over: threading.Event) -> None:
        took = 0.0
        while not over.wait(max(LOOK_SECONDS, took / LOOKING)):
            began = time.monotonic()
            try:
                if self._began:
                    self.look()
            except OSError as error:  # a full disk, or a folder that is away; what has landed is readable no further
                log.warning("the folder %s cannot be planned: %s", self.folder, error)
            took = time.monotonic() - began


def write(plan: Path, names: list[str], *, number: int) -> None:
    """Have a plan appear whole; Spark takes files by their times, which count the plans, whatever the clock says."""
    partial = plan.with_suffix(".partial")
    partial.write_text(json.dumps(names))
    os.utime(partial, (number, number))
    partial.replace(plan)


def in_parts(files: Iterable[StoredFile]) -> Iterator[list[str]]:
    """Names of files, as many together as a micro-batch is to take."""
    names, size = list[str](), 0
    for file in files:
        if names and size + file.bytes > BYTES_AT_ONCE:
            yield names
            names, size = [], 0
        names.append(file.name)
        size += file.bytes
    if names:
        yield names


def planned_by(path: str, folder: str, checkpoint: Path) -> list[str]:
    """The names in the landing folder that an entry of Spark's log stands for: those of a plan.

    It is one file itself where Spark listed the landing folder, which may have been elsewhere then.
    """
    path = unquote(urlsplit(path).path)
    if path.endswith(PLAN):
        names: list[str] = json.loads((plans_of(checkpoint) / path.rpartition("/")[2]).read_text())
        return names
    above = f"{Path(folder).absolute()}/"
    return [path.removeprefix(above) if path.startswith(above) else path.rpartition(f"/{Path(folder).name}/")[2]]
