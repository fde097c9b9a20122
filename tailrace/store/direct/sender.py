"""The lane `direct`: values ordered by event time, of which the newest of each key is sent."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tailrace.store.failures import Patience, StoreError
from tailrace.store.lease import seconds_since_boot
from tailrace.store.order import Order, OrderedValue
from tailrace.store.pace import Turns, too_late
from tailrace.store.port import ROWS_TOGETHER, KeptOut, OrderedOutcome, Refused, Stale, Store
from tailrace.store.writer import RowWriter, batches_of, write_all

# How long after its revision was given a value may still be sent: a view that changes hands waits that out, and as long
# again for requests that are under way.
SEND_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Overwritten:
    """The value would have been written, and a later one of its key came with it: the store was sent only that one."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The value may have been written or not; writing it again does no harm. `why` is what came of it."""

    why: StoreError


Result = Stale | Refused | Overwritten | None  # None where the value was written


@dataclass(slots=True, eq=False)
class Rivals:
    """Values of one key that are written together; only the newest of them is sent.

    `rows` has them in the order in which they came. `before` is the order of the value that the store had until then. If it is
    equal to the newest value's own order, an earlier attempt had already written that value, and what was there before is not
    known any more.
    """

    rows: list[OrderedValue]
    before: Order | None = None
    result: Result | Unknown = None
    _refused: dict[int, Refused] = field(default_factory=dict)
    _newest_first: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._newest_first = sorted(range(len(self.rows)), key=lambda i: (self.rows[i].order, i), reverse=True)

    @property
    def key(self) -> tuple[str, str]:
        return self.rows[0].item_key, self.rows[0].view

    @property
    def newest(self) -> OrderedValue:
        """The one to send: the latest that the store has not refused."""
        return self.rows[self._newest_first[len(self._refused)]]

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing more to send: what the store refuses leaves its place to the next newest."""
        return not isinstance(self.result, Refused) or len(self._refused) == len(self.rows)

    def settle(self, result: Result | Unknown) -> None:
        """Take what became of the newest."""
        self.result = result
        if isinstance(result, Refused):
            self._refused[self._newest_first[len(self._refused)]] = result

    def results(self) -> list[Result | Unknown]:
        """What became of each row, as if they had been written one after another."""
        if isinstance(self.result, Unknown | Stale):
            return [self._refused.get(i, self.result) for i in range(len(self.rows))]
        newest = next((i for i in self._newest_first if i not in self._refused), None)
        is_repeated = newest is not None and self.before == self.rows[newest].order
        reached, results = None if is_repeated else self.before, list[Result | Unknown]()
        for i, row in enumerate(self.rows):
            if i in self._refused:
                results.append(self._refused[i])
            elif reached is not None and row.order < reached:
                results.append(Stale(reached))
            else:
                reached = row.order
                results.append(None if i == newest else Overwritten())
        return results


def rivals_of(rows: Iterable[OrderedValue]) -> list[Rivals]:
    """Rows by item and view, in the order in which they came."""
    by_key: dict[tuple[str, str], list[OrderedValue]] = {}
    for row in rows:
        by_key.setdefault((row.item_key, row.view), []).append(row)
    return [Rivals(own) for own in by_key.values()]


def by_row(rows: Sequence[OrderedValue], rivals: Iterable[Rivals]) -> list[Result | Unknown]:
    """What became of each row, in the order of the rows that the rivals were made of."""
    results = {own.key: iter(own.results()) for own in rivals}
    return [next(results[row.item_key, row.view]) for row in rows]


def first_unknown(results: Iterable[object]) -> StoreError | None:
    """Why something is not known of the first result of which it is not."""
    return next((one.why for one in results if isinstance(one, Unknown)), None)


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
        """Write rows and return what became of each; of rows with one key only the newest is sent.

        Nothing is sent after `until`, by `seconds_since_boot`; what is under way then is waited for.
        """
        writer, rivals = OrderedWriter(self.store, self.turns, until), rivals_of(rows)
        left = rivals
        while left:  # once, unless the store refuses the newest value of a key
            for wave in waves(left):
                batches = list(self._batches(wave))
                await write_all(writer, iter(batches), at_once=len(batches))
            left = [own for own in left if not own.is_settled]
        return by_row(rows, rivals)

    def _batches(self, wave: Sequence[Rivals]) -> Iterable[list[Rivals]]:
        """What goes together: of a key with several values the store says what it had, which no transaction does."""
        singles = [[own] for own in wave if len(own.rows) > 1 or not self.transactions]
        together = (own for own in wave if len(own.rows) == 1 and self.transactions)
        return [*singles, *batches_of(together, most=ROWS_TOGETHER, size_of=bytes_of)]


@dataclass(frozen=True)
class OrderedWriter(RowWriter[Rivals]):
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
                outcome = await self.turns.send(
                    lambda: self._send_once(rows),
                    within=self.until - seconds_since_boot(),
                    is_throttled=lambda one: one.is_throttled,
                )
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
        left = self.until - seconds_since_boot()
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
