"""The lane `direct`: values ordered by event time, of which the newest of each key is sent."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tailrace.store.direct.rivals import Result, Rivals, Unknown, by_row, rivals_of
from tailrace.store.failures import Patience, StoreError
from tailrace.store.order import OrderedValue
from tailrace.store.pace import Turns, too_late
from tailrace.store.port import ROWS_TOGETHER, KeptOut, OrderedOutcome, Refused, Stale, Store
from tailrace.store.writer import Lane, batches_of, write_all

# How long after its revision was given a value may still be sent: a view that changes hands waits that out, and as long
# again for requests that are under way.
SEND_SECONDS = 10.0


def boot_time() -> float:
    """Seconds that passed, suspended ones too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Sender:
    """Sends values to a store, one by one or in transactions, at the pace that it takes."""

    store: Store
    transactions: bool
    turns: Turns = field(default_factory=Turns)

    def room(self, seconds: float) -> float:
        """How many values the store takes within so many seconds: one at least, and any number where it takes all."""
        return max(1.0, self.turns.room(seconds) * (ROWS_TOGETHER if self.transactions else 1))

    async def write(self, rows: Sequence[OrderedValue], *, until: float) -> list[Result | Unknown]:
        """Write rows and return what became of each; of rows with one key the newest alone is sent.

        Nothing is sent after `until`, by `boot_time`; what is under way then is waited for.
        """
        lane, rivals = OrderedLane(self.store, self.turns, until), rivals_of(rows)
        left = rivals
        while left:  # once, unless the store refuses the newest value of a key
            for wave in waves(left):
                batches = list(self._batches(wave))
                await write_all(lane, iter(batches), at_once=len(batches))
            left = [own for own in left if not own.is_settled]
        return by_row(rows, rivals)

    def _batches(self, wave: Sequence[Rivals]) -> Iterable[list[Rivals]]:
        """What goes together: of a key with several values the store says what it had, which no transaction does."""
        singles = [[own] for own in wave if len(own.rows) > 1 or not self.transactions]
        together = (own for own in wave if len(own.rows) == 1 and self.transactions)
        return [*singles, *batches_of(together, most=ROWS_TOGETHER, size_of=bytes_of)]


@dataclass(frozen=True)
class OrderedLane(Lane[Rivals]):
    """Values of direct views: each is written unless the store has a later one of its key, or a later owner of the view."""

    store: Store
    turns: Turns
    until: float

    def be_patient(self) -> Patience:
        """The store's own patience."""
        return self.store.be_patient()

    async def send(self, rows: Sequence[Rivals], _: Patience) -> KeptOut:
        """Send the newest value of each key when its turn comes; a store that throttles makes the next turn come later."""
        while True:
            try:
                outcome = await self.turns.send(lambda: self._send_once(rows), within=self.until - boot_time())
            except StoreError as error:
                if not error.is_throttling:
                    raise
            else:
                break
        if not outcome.kept_out:
            for own in rows:
                own.before = outcome.before
        return outcome.kept_out

    async def _send_once(self, rows: Sequence[Rivals]) -> OrderedOutcome:
        left = self.until - boot_time()
        if left <= 0:  # suspended meanwhile
            raise too_late()
        return await self.store.write_ordered([own.newest for own in rows], within=left)

    def settle(self, row: Rivals, result: Stale | Refused | None) -> None:
        """Take what became of the newest value of a key."""
        row.settle(result)

    def give_up(self, rows: Sequence[Rivals], error: StoreError) -> None:
        """Nothing is known of these keys."""
        for own in rows:
            own.settle(Unknown(error))


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


def bytes_of(own: Rivals) -> int:
    """How much of a transaction a value takes."""
    return len(own.newest.item_key.encode()) + 2 * len(own.newest.value)
