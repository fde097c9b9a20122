"""Files that the stream left out of its folder: a list of them lies beside the checkpoint."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tailrace.lake.files import put

log = logging.getLogger(__name__)

AGAIN = (
    "once that is done, land it under another name, or have `tailrace reconcile --repair` count what bronze has of it"
)


@dataclass(frozen=True, kw_only=True)
class LeftOutFile:
    """A file that the stream did not take, why, and when, in seconds since 1970."""

    file: str
    reason: str
    at: float


class LeftOut:
    """The files that a stream has left out, the last at the end."""

    def __init__(self, checkpoint: Path) -> None:
        self._file = checkpoint.with_name("left_out.json")
        try:
            found = json.loads(self._file.read_text())
        except FileNotFoundError:
            found = []
        self.files = [LeftOutFile(**one) for one in found]

    def add(self, reasons: Mapping[str, str]) -> None:
        """Note files and say so, but for those that were left out before."""
        known = {one.file for one in self.files}
        new = [LeftOutFile(file=name, reason=why, at=time.time()) for name, why in reasons.items() if name not in known]
        for one in new:
            log.warning("the stream leaves out %s: %s; %s", one.file, one.reason, AGAIN)
        if new:
            self.files += new
            put(self._file, json.dumps([asdict(one) for one in self.files]))

    def forget(self) -> None:
        """Begin anew, where all is counted anew by what bronze has."""
        self.files = []
        self._file.unlink(missing_ok=True)
