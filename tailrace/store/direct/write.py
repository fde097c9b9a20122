"""Conditional writes of direct values by revision."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tailrace.store.direct.rivals import Refused, Result, Rivals, Stale, Turns, Unknown, by_row, rivals_of, too_late
from tailrace.store.dynamodb.ordered import write_ordered
from tailrace.store.dynamodb.refusals import CANCELED, is_refused_whole, is_throttled, stale_of
from tailrace.store.dynamodb.wire import Patience, StoreClient, StoreError, is_transient
from tailrace.store.order import Order, OrderedValue

ROWS_PER_TRANSACTION = 100
BYTES_PER_TRANSACTION = 3_000_000  # of the 4 MB that a transaction may have
# How long after its revision was given a value may still be sent: a view that changes hands waits that out, and as long
# again for requests that are under way.
SEND_SECONDS = 10.0


def boot_time() -> float:
    """Seconds that passed, suspended ones too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Sender:
    """Sends values to a store, one by one or in transactions, at the pace that it takes."""

    client: StoreClient
    transactions: bool
    turns: Turns = field(default_factory=Turns)

    def room(self, seconds: float) -> float:
        """How many values the store takes within so many seconds: one at least, and any number where it takes all."""
        return max(1.0, self.turns.room(seconds) * (ROWS_PER_TRANSACTION if self.transactions else 1))

    async def write(self, rows: Sequence[OrderedValue], *, until: float) -> list[Result | Unknown]:
        """Write rows and return what became of each; of rows with one key the newest alone is sent.

        Nothing is sent after `until`, by `boot_time`; what is under way then is waited for.
        """
        rivals = rivals_of(rows)
        left = rivals
        while left:  # once, unless the store refuses the newest value of a key
            for wave in waves(left):
                await asyncio.gather(*(self._write_part(part, until) for part in self._parts(wave)))
            left = [own for own in left if not own.is_settled]
        return by_row(rows, rivals)

    def _parts(self, wave: Sequence[Rivals]) -> Iterable[list[Rivals]]:
        """What goes together: of a key with several values the store says what it had, which no transaction does."""
        alone = [[own] for own in wave if len(own.rows) > 1 or not self.transactions]
        return [*alone, *chunks(own for own in wave if len(own.rows) == 1 and self.transactions)]

    async def _write_part(self, part: list[Rivals], until: float) -> None:
        """One key by itself, or several in a transaction that leaves out those whose values are stale."""
        patience = self.client.be_patient()
        while part:
            rows = [own.newest for own in part]
            try:
                before = await self._send(rows, until)
            except StoreError as error:
                if is_refused_whole(error, rows):
                    await self._write_apart(part, until, error)
                    return
                stale = stale_of(error, rows)
                for at, order in stale.items():
                    part[at].settle(Stale(order))
                part = [own for at, own in enumerate(part) if at not in stale]
                if not stale and (last := await no_more(error, patience)):
                    settle_all(part, Unknown(last))
                    return
            else:
                for own in part:
                    own.before = before
                settle_all(part, None)
                return

    async def _write_apart(self, part: list[Rivals], until: float, error: StoreError) -> None:
        """Find the values that made the store refuse all: what it refuses alone as well is to blame."""
        if len(part) == 1:
            part[0].settle(Refused(error.message))
        else:
            await asyncio.gather(*(self._write_part([own], until) for own in part))

    async def _send(self, rows: Sequence[OrderedValue], until: float) -> Order | None:
        """Send rows once and return the order before of a single one; raises `StoreError` unless all were written."""

        async def call() -> Order | None:
            left = until - boot_time()
            if left <= 0:  # suspended meanwhile
                raise too_late()
            return await write_ordered(self.client, rows, within=left)

        return await self.turns.send(call, within=until - boot_time())


async def no_more(error: StoreError, patience: Patience) -> StoreError | None:
    """Wait for the next attempt; the error that ends the attempts where there is none."""
    if is_throttled(error):
        return None  # the next turn comes later
    if not (is_transient(error) or error.code == CANCELED):
        return error
    try:
        await patience.wait_after(error)
    except StoreError as last:
        return last
    return None


def settle_all(part: Iterable[Rivals], result: Result | Unknown) -> None:
    for own in part:
        own.settle(result)


def waves(rivals: Sequence[Rivals]) -> list[list[Rivals]]:
    """Keys in groups none of which has two of one item, which no transaction takes: views may share items."""
    found: list[list[Rivals]] = []
    seen: dict[str, int] = {}
    for own in rivals:
        item = own.newest.item_key
        wave = seen[item] = seen.get(item, -1) + 1
        if wave == len(found):
            found.append([])
        found[wave].append(own)
    return found


def chunks(rivals: Iterable[Rivals]) -> Iterable[list[Rivals]]:
    """As many keys together as one transaction takes, by number and by bytes."""
    part: list[Rivals] = []
    size = 0
    for own in rivals:
        bytes_ = len(own.newest.item_key.encode()) + 2 * len(own.newest.value)
        if part and (len(part) == ROWS_PER_TRANSACTION or size + bytes_ > BYTES_PER_TRANSACTION):
            yield part
            part, size = [], 0
        part.append(own)
        size += bytes_
    if part:
        yield part
