"""What stands with a stream's checkpoint, a local folder that Spark keeps: how far it came, and what it excluded."""

import json
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailrace.errors import UnavailableError
from tailrace.lake.atomic_file import put
from tailrace.schemas.landing import LandingError

VERSION = "v1"  # of Spark's files; below it are a line of Spark's own and one of the source
NOTHING = "-"
VIEWS = "views.json"  # next to the checkpoint


def checkpoint_of(home: Path) -> Path:
    """Where the checkpoint of a home's stream is."""
    return home / "stream" / "checkpoint"


def remember_views(checkpoint: Path, views: Mapping[str, str]) -> None:
    """Note the views that a stream keeps, each with the fingerprint of its definition.

    Nothing but the store has such a view, and searching that takes a while. The same columns may count other events.
    """
    before = remembered_views(checkpoint)
    known: dict[str, str | None] = {**before, **views}
    if known != before:
        put(checkpoint.with_name(VIEWS), json.dumps(known, sort_keys=True))


def remembered_views(checkpoint: Path) -> dict[str, str | None]:
    """The views that a stream has ever kept, with their fingerprints; None for one that was noted by its name only.

    Nothing is known from a file that is damaged, as from one that is lost: the log says so.
    """
    file = checkpoint.with_name(VIEWS)
    try:
        known = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        known = None
    if isinstance(known, list) and all(isinstance(name, str) for name in known):
        return dict.fromkeys(known)
    if isinstance(known, dict):
        return known
    log.warning("%s is damaged and is written anew: whether a view of the stream was changed is not known", file)
    return {}


def run_id(checkpoint: Path) -> int:
    """A number for the run of micro-batches that a checkpoint counts: another checkpoint counts from 0 again."""
    return int(json.loads((checkpoint / "metadata").read_text())["id"].replace("-", "")[:15], 16)


def committed_offsets(checkpoint: Path, *, topic: str | None = None) -> dict[int, int]:
    """By partition, the offset of the next message to take; empty before the first micro-batch was written.

    Empty also where the stream followed a folder, or another topic than the one named. Raises `LandingError` for a
    checkpoint of another version of Spark.
    """
    last = last_committed(checkpoint)
    if last is None:
        return {}
    name, offsets = planned_offsets(checkpoint, last)
    return offsets if topic in {None, name} else {}


def last_committed(checkpoint: Path) -> int | None:
    """The number of the micro-batch that was written last."""
    return newest_number(checkpoint / "commits")


def newest_number(folder: Path) -> int | None:
    """The largest number that a file of the folder has for its name."""
    return max((int(file.name) for file in folder.glob("*") if file.name.isdigit()), default=None)


def followed(checkpoint: Path) -> str | None:
    """The topic of the micro-batch that was planned last, empty for a folder; None before the first one."""
    last = newest_number(checkpoint / "offsets")
    return None if last is None or not planned_ends(checkpoint, last) else planned_offsets(checkpoint, last)[0]


def planned_offsets(checkpoint: Path, number: int) -> tuple[str, dict[int, int]]:
    """The topic of a micro-batch, and by partition the offset before which it ends; none of either for a folder."""
    for name, offsets in planned_ends(checkpoint, number).items():
        if isinstance(offsets, dict):  # files are counted by one number
            return name, {int(partition): int(offset) for partition, offset in offsets.items()}
    return "", {}


def began_at(checkpoint: Path, number: int) -> datetime:
    """When a micro-batch began for the first time, however often it is repeated."""
    _, times, *_ = (checkpoint / "offsets" / str(number)).read_text().splitlines()
    return datetime.fromtimestamp(json.loads(times)["batchTimestampMs"] / 1000, UTC)


def planned_ends(checkpoint: Path, number: int) -> dict[str, Any]:
    """Where a micro-batch ends, in the words of Spark's source; empty where it has nothing of it."""
    file = checkpoint / "offsets" / str(number)
    version, _, *sources = file.read_text().splitlines()
    if version != VERSION or len(sources) != 1:
        raise LandingError(
            f"{file} is not as Tailrace knows it; was the checkpoint written by another version of Spark?"
        )
    ends: dict[str, Any] = {} if sources[0] == NOTHING else json.loads(sources[0])
    return ends


def refuse_steps_back(checkpoint: Path, number: int, *, topic: str) -> None:
    """Raise `LandingError` where a micro-batch of the topic ends before the last one: the topic was made anew.

    Spark goes on at the end that the new topic has by then. A micro-batch that is left of a topic which is followed no
    more is let through: there is nothing in it, and the next one is of the other topic.
    """
    last = last_committed(checkpoint)
    if last is None:
        return
    (before, reached), (name, planned) = planned_offsets(checkpoint, last), planned_offsets(checkpoint, number)
    for partition, consumed in reached.items():
        end = planned.get(partition, 0)
        if before == name == topic and end < consumed:
            from jobs.bronze.topic import made_anew  # Spark, which those who ask how far a stream is do without

            raise made_anew(topic, partition, end, consumed=consumed)


def log_of(checkpoint: Path) -> Path:
    """The log in which Spark's source of a folder keeps its files."""
    return checkpoint / "sources" / "0"


def logged_files(entries: Iterable[Path]) -> Iterator[tuple[int, str]]:
    """The entry of each file of that log, though it is in a compact one, and where the file is, as a URI."""
    for entry in entries:
        if not entry.name.removesuffix(".compact").isdecimal():
            continue
        _, *files = entry.read_text().splitlines()
        for file in map(json.loads, files):
            yield file["batchId"], file["path"]


if TYPE_CHECKING:
    from jobs.streaming.window_state import Array
    from tailrace.store.writer import Outcome

log = logging.getLogger(__name__)

AGAIN = (
    "once that is done, land it under another name, or have `tailrace reconcile --repair` count what bronze has of it"
)


@dataclass(frozen=True, kw_only=True)
class ExcludedFile:
    """A file that the stream excluded, why, and when, in seconds since 1970."""

    file: str
    reason: str
    at: float


class ExcludedFiles:
    """The files that a stream has excluded, the last at the end."""

    def __init__(self, checkpoint: Path) -> None:
        self._file = checkpoint.with_name("left_out.json")
        try:
            found = json.loads(self._file.read_text())
        except FileNotFoundError:
            found = []
        self.files = [ExcludedFile(**one) for one in found]

    def add(self, reasons: Mapping[str, str]) -> None:
        """Note files and say so, but for those that were excluded before."""
        known = {one.file for one in self.files}
        new = [
            ExcludedFile(file=name, reason=why, at=time.time()) for name, why in reasons.items() if name not in known
        ]
        for one in new:
            log.warning("the stream leaves out %s: %s; %s", one.file, one.reason, AGAIN)
        if new:
            self.files += new
            put(self._file, json.dumps([asdict(one) for one in self.files]))

    def forget(self) -> None:
        """Begin anew, where all is counted anew by what bronze has."""
        self.files = []
        self._file.unlink(missing_ok=True)


NO_KEYS = "[]"
MOST = 100  # more than these are no matter of keys, but of the store


class RefusedByStore(UnavailableError):
    """The store refuses so many keys that these are not the cause; the message names some, with its reasons."""


@dataclass(frozen=True, kw_only=True)
class ParkedKey:
    """A key of a view, why it is parked and since when, in seconds since 1970, and the minute of its last excluded event."""

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
            self._text = NO_KEYS
        self._keys = {(one["view"], one["key"]): ParkedKey(**one) for one in json.loads(self._text)}

    @property
    def keys(self) -> list[ParkedKey]:
        """All of them, those first that are parked for longest."""
        return sorted(self._keys.values(), key=lambda one: (one.since, one.view, one.key))

    def exclude(self, view: str, keys: Sequence[str], minutes: "Array", *, horizon: int) -> "Array":
        """Which keys stay parked, `minutes` being that of the newest event of each and `horizon` how many a window holds."""
        import numpy as np

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

    def park(self, view: str, outcome: "Outcome", minutes: Mapping[str, int]) -> None:
        """Park the keys that the store has refused; raises `RefusedByStore` where these are too many."""
        refused = {key: reason for key, reason in outcome.failed if (view, key) not in self._keys}
        if outcome.refused > len(outcome.failed) or len(self._keys) + len(refused) > MOST:
            reasons = "; ".join(f"{key!r}: {reason}" for key, reason in outcome.failed)
            raise RefusedByStore(f"view {view}: the store refuses {outcome.refused} rows: {reasons}")
        for key, reason in outcome.failed:
            known = self._keys.get((view, key))
            since = known.since if known else time.time()
            self._keys[view, key] = ParkedKey(view=view, key=key, reason=reason, since=since, minute=minutes[key])
        for key, reason in refused.items():
            log.warning("view %s: the key %r is parked, because the store refuses its value: %s", view, key, reason)
        self._save()

    def release(self, view: str, keys: Sequence[str]) -> None:
        """Keys whose values the store has accepted."""
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
