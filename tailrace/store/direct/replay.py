"""Finish what processes that are gone left in the log: land what was written, write what may not have been, part by part."""

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tailrace.definitions import FeatureView
from tailrace.store.codec import Codec
from tailrace.store.control import OtherLane
from tailrace.store.direct.log import Intent, Log, LogError, Outcomes, Segment, deliver
from tailrace.store.direct.sender import SEND_SECONDS, Overwritten, Result, Sender, Unknown, first_unknown
from tailrace.store.direct.values import are_keys_of, pack
from tailrace.store.failures import StoreError
from tailrace.store.keys import item_keys
from tailrace.store.lease import seconds_since_boot
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import Store

KEYS_PER_PART = 500
PART_SECONDS = 1.0  # for which a part keeps the store busy, if it throttles
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0  # seconds between tries that brought nothing

log = logging.getLogger(__name__)

Views = Mapping[str, FeatureView]


@dataclass(slots=True)
class Round:
    """What became of one look at the log.

    `has_progress` says whether anything got known, `is_refused` whether the store took nothing of a part.
    """

    has_progress: bool = False
    is_refused: bool = False
    failures: dict[str, str] = field(default_factory=dict)  # by the name of the segment


@dataclass(slots=True)
class Pause:
    """How often a segment was tried in vain, and when it is tried again, in the event loop's time."""

    until: float
    seconds: float
    tries: int


class Adopter:
    """Finishes segments whose processes are gone, one part of each at a time; those tried in vain wait ever longer."""

    def __init__(self, sender: Sender, views: Callable[[], Views], where: Log) -> None:
        self._sender, self._views, self._where = sender, views, where
        self._segments: list[Path] = []
        self._pauses: dict[Path, Pause] = {}
        self._unknown: dict[Path, int] = {}
        self._keys = KEYS_PER_PART  # of the next part

    @property
    def unknown(self) -> int:
        """How many values without an outcome wait to be written; one for a segment that was not looked at yet."""
        return sum(self._unknown.get(path, 1) for path in self._segments)

    async def look(self) -> Round:
        """Land what is known of each segment, and write one part of what is not, as long as the store takes anything."""
        done = Round()
        self._segments = await asyncio.to_thread(lambda: self._where.segments)
        for path in (self._pauses.keys() | self._unknown.keys()).difference(self._segments):
            self._pauses.pop(path, None)
            self._unknown.pop(path, None)
        for path in self._segments:
            pause = self._pauses.get(path)
            if pause is None or asyncio.get_running_loop().time() >= pause.until:
                await self._try(path, done)
            if done.is_refused:
                break
        return done

    async def _try(self, path: Path, done: Round) -> None:
        segment, before = None, self._pauses.get(path)
        tries = 0 if before is None else before.tries
        try:
            segment = Segment.adopt(path)
            if segment is not None:
                await self._advance(segment, done, tries=tries)
                self._pauses.pop(path, None)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one of them, the others are finished
            done.failures[path.name] = f"{type(error).__name__}: {error}"
            done.is_refused = isinstance(error, StoreError)
            seconds = FIRST_PAUSE if before is None else min(LONGEST_PAUSE, 2 * before.seconds)
            self._pauses[path] = Pause(asyncio.get_running_loop().time() + seconds, seconds, tries + 1)
        finally:
            if segment is not None:
                segment.close()

    async def _advance(self, segment: Segment, done: Round, *, tries: int) -> None:
        """Take a segment one part further; raises where nothing more of it can be done now."""
        contents = await asyncio.to_thread(deliver, segment, self._where.landing)
        unknown, views = await asyncio.to_thread(contents.unknown), self._views()
        writable = [intent for intent in unknown if fits(intent, views.get(intent.view))]
        self._unknown[segment.path] = len(writable)
        if writable:
            await self._sender.turns.come_near(PART_SECONDS)
            part = part_of(writable, keys=int(min(self._keys, self._sender.room(PART_SECONDS))), tries=tries)
            began = asyncio.get_running_loop().time()
            results = await again(self._sender, views[part[0].view], part)
            self._learn(asyncio.get_running_loop().time() - began)
            if (failure := first_unknown(results)) and all(isinstance(one, Unknown) for one in results):
                raise failure
            await asyncio.to_thread(segment.append, [outcomes_of(part, results)])
            await asyncio.to_thread(deliver, segment, self._where.landing)
            self._unknown[segment.path] -= sum(not isinstance(one, Unknown) for one in results)
            done.has_progress = True
        elif unknown:
            names = ", ".join(sorted({intent.view for intent in unknown}))
            raise LogError(
                f"{segment.path}: {len(unknown)} writes of {names} have no outcome and do not fit what is defined now, "
                "a view of the lane direct with the same keys; define the view so once more"
            )
        elif contents.damage:
            raise LogError(contents.damage)

    def _learn(self, seconds: float) -> None:
        """Make the next part larger or smaller: those who wait for an answer should not be long behind it."""
        keys = self._keys // 2 if seconds > PART_SECONDS else self._keys * 2
        self._keys = max(1, min(KEYS_PER_PART, keys))


async def adopt_all(
    store: Store, views: Views, where: Log, *, transactions: bool, seconds: float = math.inf
) -> list[str]:
    """Finish every segment whose process is gone; returns why some could not be, which stay as they are.

    After `seconds` nothing more is begun: what is left goes on with the next look of whichever process.
    """
    loop = asyncio.get_running_loop()
    adopter, until = Adopter(Sender(store, transactions), lambda: views, where), loop.time() + seconds
    failures: dict[str, str] = {}
    while True:
        done = await adopter.look()
        failures |= done.failures
        if not done.has_progress or loop.time() >= until:
            return [f"{name}: {why}" for name, why in failures.items() if (where.folder / name).exists()]


def fits(intent: Intent, view: FeatureView | None) -> bool:
    """Whether an intent can be written to a view as it is defined now."""
    return view is not None and view.takes_writes and are_keys_of(intent.keys, view)


def part_of(intents: Sequence[Intent], *, keys: int, tries: int) -> list[Intent]:
    """So many keys of one view with all their intents; other ones after each try that was in vain."""
    names = list(dict.fromkeys(intent.view for intent in intents))
    name = names[tries % len(names)]
    by_key: dict[tuple[tuple[str, str], ...], list[Intent]] = defaultdict(list)
    for intent in intents:
        if intent.view == name:
            by_key[tuple(sorted(intent.keys.items()))].append(intent)
    of_view = list(by_key.values())
    first = tries * keys % len(of_view)
    return [intent for own in of_view[first : first + keys] for intent in own]


async def again(sender: Sender, view: FeatureView, intents: Sequence[Intent]) -> Sequence[Result | Unknown | OtherLane]:
    """What becomes of intents that are written again; `OtherLane` where the view has changed hands."""
    try:
        await sender.store.ensure_ready()
        return await write_in_time(sender, view, partial(ordered, view, intents))
    except OtherLane as error:
        log.warning("%d direct writes without an outcome are given up: %s", len(intents), error)
        return [error] * len(intents)


async def write_as_owner(
    sender: Sender, view: FeatureView, rows: Callable[..., Sequence[OrderedValue]]
) -> list[Result | Unknown]:
    """Write values that have their orders, as long as the store takes any; `rows` makes them for a `sequence`.

    Raises `OtherLane` where the lane does not own the view, and `StoreError` where the store does not say whether.
    """
    results = await write_in_time(sender, view, rows)
    while left := [place for place, result in enumerate(results) if isinstance(result, Unknown)]:
        answers = await write_in_time(sender, view, lambda *, sequence: [rows(sequence=sequence)[i] for i in left])
        for place, answer in zip(left, answers, strict=True):
            results[place] = answer
        if all(isinstance(answer, Unknown) for answer in answers):
            break
    return results


async def write_in_time(
    sender: Sender, view: FeatureView, rows: Callable[..., Sequence[OrderedValue]]
) -> list[Result | Unknown]:
    """Write what can be sent before somebody else may own the view; `rows` makes it for the `sequence` of now."""
    until = seconds_since_boot() + SEND_SECONDS
    given = await sender.store.take_revisions(view.name, view.features, count=0)
    return await sender.write(rows(sequence=given.sequence), until=until)


def ordered(view: FeatureView, intents: Sequence[Intent], *, sequence: int) -> list[OrderedValue]:
    """Intents of one view as what the store is sent."""
    entities = {entity.name: entity.key for entity in view.entities}
    keys = item_keys(entities, {key: [intent.keys[key] for intent in intents] for key in view.keys})
    values = pack(
        Codec(view.name, view.features),
        [intent.values for intent in intents],
        occurred_at=[intent.occurred_at for intent in intents],
    )
    return [
        OrderedValue(
            view=view.name,
            item_key=key,
            value=value,
            order=Order(intent.occurred_at, intent.revision),
            sequence=sequence,
        )
        for key, value, intent in zip(keys, values, intents, strict=True)
    ]


def outcomes_of(intents: Sequence[Intent], results: Sequence[object]) -> bytes:
    """The line that says what became of intents, as far as it is known; None is the result of those that were written."""
    outcomes = Outcomes([], [], [])
    for intent, result in zip(intents, results, strict=True):
        if result is None or isinstance(result, Overwritten):
            outcomes.written.append(intent.number)
            if result is not None:
                outcomes.overwritten.append(intent.number)
        elif not isinstance(result, Unknown):
            outcomes.kept_out.append(intent.number)
    return outcomes.to_line(acknowledged_at=time.time_ns() // 1000)
