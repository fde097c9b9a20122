"""What the stream left out: files that it cannot read, and keys that the store refuses."""

import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from jobs.streaming.window_state import Array
from tailrace.errors import UnavailableError
from tailrace.lake.atomic_file import put
from tailrace.store.writer import Outcome

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


NOTHING = "[]"
MOST = 100  # more than these are no matter of keys, but of the store


class RefusedByStore(UnavailableError):
    """The store refuses so many keys that these are not the cause; the message names some, with its reasons."""


@dataclass(frozen=True, kw_only=True)
class ParkedKey:
    """A key of a view, why it is parked and since when, in seconds since 1970, and the minute of its last event left out."""

    view: str
    key: str
    reason: str
    since: float
    minute: int


class Parked:
    """The parked keys of a stream."""

    def __init__(self, checkpoint: Path) -> None:
        self._file = checkpoint.with_name("parked.json")
        try:
            self._text = self._file.read_text()
        except FileNotFoundError:
            self._text = NOTHING
        self._keys = {(one["view"], one["key"]): ParkedKey(**one) for one in json.loads(self._text)}

    @property
    def keys(self) -> list[ParkedKey]:
        """All of them, those first that are parked for longest."""
        return sorted(self._keys.values(), key=lambda one: (one.since, one.view, one.key))

    def leave_out(self, view: str, keys: Sequence[str], minutes: Array, *, horizon: int) -> Array:
        """Which keys stay parked, `minutes` being that of the newest event of each and `horizon` how many a window holds."""
        left = np.zeros(len(keys), bool)
        if not self._keys:
            return left
        for place, key in enumerate(keys):
            one, minute = self._keys.get((view, key)), int(minutes[place])
            if one and minute <= one.minute + horizon:
                left[place] = True
                self._keys[view, key] = replace(one, minute=max(one.minute, minute))
        self._save()
        return left

    def park(self, view: str, outcome: Outcome, minutes: Mapping[str, int]) -> None:
        """Park the keys that the store has refused; raises `RefusedByStore` where these are too many."""
        refused = {key: reason for key, reason in outcome.failed if (view, key) not in self._keys}
        if outcome.refused > len(outcome.failed) or len(self._keys) + len(refused) > MOST:
            told = "; ".join(f"{key!r}: {reason}" for key, reason in outcome.failed)
            raise RefusedByStore(f"view {view}: the store refuses {outcome.refused} rows: {told}")
        for key, reason in outcome.failed:
            known = self._keys.get((view, key))
            since = known.since if known else time.time()
            self._keys[view, key] = ParkedKey(view=view, key=key, reason=reason, since=since, minute=minutes[key])
        for key, reason in refused.items():
            log.warning("view %s: the key %r is parked, because the store refuses its value: %s", view, key, reason)
        self._save()

    def release(self, view: str, keys: Sequence[str]) -> None:
        """Keys whose values the store has taken."""
        for key in keys:
            if self._keys.pop((view, key), None):
                log.warning("view %s: the key %r is parked no longer", view, key)
        self._save()

    def keep_only(self, views: Collection[str]) -> None:
        """Forget the keys of views that the stream no longer has."""
        self._keys = {place: one for place, one in self._keys.items() if one.view in views}
        self._save()

    def forget(self) -> None:
        """Begin anew, where all values are written anew."""
        self._keys.clear()
        self._save()

    def _save(self) -> None:
        text = json.dumps([asdict(one) for one in self.keys])
        if text != self._text:
            put(self._file, text)
            self._text = text
