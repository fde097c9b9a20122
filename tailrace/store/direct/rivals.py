"""Several values of one key at once: which one is sent, and what became of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tailrace.store.failures import StoreError
from tailrace.store.order import Order, OrderedValue
from tailrace.store.port import Refused, Stale


@dataclass(frozen=True, slots=True)
class Overwritten:
    """The value would have been written, and a later one of its key came with it: the store was sent that one alone."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The value may have been written or not; writing it again does no harm. `why` is what came of it."""

    why: StoreError


Result = Stale | Refused | Overwritten | None  # None where the value was written


@dataclass(slots=True, eq=False)
class Rivals:
    """`rows` are values of one key in the order in which they came; `before` is the order that the store had before.

    Where that is the newest's own, an earlier try had written it, and what was there before that is not known any more.
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
