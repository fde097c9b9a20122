"""Finish what processes that are gone left in the log: write what may not have been written, tell it, land it."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from features.language import DIRECT, FeatureView
from online.codec import Codec
from online.direct.deliver import deliver
from online.direct.log import SUFFIX, Intent, LogError, Outcomes, Segment
from online.direct.order import Order
from online.direct.revisions import take_revisions
from online.direct.values import pack
from online.direct.write import SEND_SECONDS, OrderedValue, Result, boot_time, write_values
from online.items import ensure_table
from online.keys import item_keys
from online.lanes import OtherLane
from online.wire import StoreClient

log = logging.getLogger(__name__)

Views = Mapping[str, FeatureView]


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of direct writes of one machine, and the landing folder that it ends in."""

    folder: Path
    landing: str

    @property
    def has_segments(self) -> bool:
        """Whether there is any, of whichever process."""
        return any(self.folder.glob(f"*{SUFFIX}"))


async def adopt_all(client: StoreClient, views: Views, where: Log, *, transactions: bool) -> list[str]:
    """Finish every segment whose process is gone; returns why some could not be, which stay as they are."""
    failures = []
    for path in sorted(where.folder.glob(f"*{SUFFIX}")):
        segment = None
        try:
            segment = Segment.adopt(path)
            if segment is not None:
                await replay(client, views, segment, transactions=transactions)
                await asyncio.to_thread(deliver, segment, where.landing)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one of them, the others are finished
            failures.append(f"{path.name}: {type(error).__name__}: {error}")
        finally:
            if segment is not None:
                segment.close()
    return failures


async def replay(client: StoreClient, views: Views, segment: Segment, *, transactions: bool) -> None:
    """Write the intents that have no outcome, under the orders that they were given, and log their outcomes."""
    intents, outcomes = await asyncio.to_thread(segment.read)
    known = {*outcomes.written, *outcomes.kept_out}
    by_view: dict[str, list[Intent]] = defaultdict(list)
    for intent in intents:
        if intent.number not in known:
            by_view[intent.view].append(intent)
    for name, unknown in by_view.items():
        view = views.get(name)
        if view is None or view.lane != DIRECT:
            raise LogError(
                f"{segment.path}: {len(unknown)} writes of view {name} have no outcome, and it is no view of the lane "
                "direct any more; what others wrote waits in this file too: define the view so once more"
            )
        results = await again(client, view, unknown, transactions=transactions)
        await asyncio.to_thread(segment.append, [outcomes_of(unknown, results)])


async def again(
    client: StoreClient, view: FeatureView, intents: Sequence[Intent], *, transactions: bool
) -> Sequence[Result | OtherLane]:
    """What becomes of intents that are written again; `OtherLane` where the view has changed hands."""
    try:
        await ensure_table(client)
        return await write_as_owner(client, view, partial(ordered, view, intents), transactions=transactions)
    except OtherLane as error:
        log.warning("%d direct writes without an outcome are given up: %s", len(intents), error)
        return [error] * len(intents)


async def write_as_owner(
    client: StoreClient, view: FeatureView, rows: Callable[..., Sequence[OrderedValue]], *, transactions: bool
) -> list[Result]:
    """Write values that have their orders; `rows` makes them for the `sequence` under which the lane owns the view.

    Raises `OtherLane` where it does not, and as `write_values`.
    """
    until = boot_time() + SEND_SECONDS
    given = await take_revisions(client, view.name, view.features, count=0)
    return await write_values(client, rows(sequence=given.sequence), transactions=transactions, until=until)


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
    """The line that says which were written, None being the result of those, and which were not."""
    outcomes = Outcomes([], [])
    for intent, result in zip(intents, results, strict=True):
        (outcomes.written if result is None else outcomes.kept_out).append(intent.number)
    return outcomes.to_line(acknowledged_at=time.time_ns() // 1000)
