"""A small model of a refresh in plain Python: signed events, increments, settlement; and the full computation to compare with.

Times are whole numbers of ticks. `broken` plants one bug by name, to show that the histories find it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Row = dict[str, Any]
Key = tuple[Any, ...]
Silver = Mapping[str, Row]
NOTHING = "nothing"
EDGE, SIGN, OLD_CONDITION, NULL_KEY, KEPT_LAST = "edge", "sign", "condition on the old image", "null key", "kept last"
LINE_CONDITION, LINE_SURVIVORS = "a line's condition on the old image", "a line's condition on survivors"
UNKNOWN_FACT = "a line's condition is about a column that is not among the facts"
SQUARES_SIGN, SQUARES_TIE = "a sign on a square", "a correction that leaves the sum changes no square"
SQUARES_CONDITION, SQUARES_EDGE = "squares of the old image without the condition", "squares stay at a window's edge"
OF_SQUARES = (SQUARES_SIGN, SQUARES_TIE, SQUARES_CONDITION, SQUARES_EDGE)
EXTREME_TIE, EXTREME_EDGE = "what ties the extreme leaves", "what expires leaves no extreme"
EXTREME_SIGN, EXTREME_CONDITION = "what leaves comes", "an extreme of the old image without the condition"
EXTREME_LATE, EXTREME_SURVIVORS = "what comes too late for the window stays", "an extreme of survivors of all time"
OF_EXTREMES = (EXTREME_TIE, EXTREME_EDGE, EXTREME_SIGN, EXTREME_CONDITION, EXTREME_LATE, EXTREME_SURVIVORS)
BUGS = (
    *OF_SQUARES,
    *OF_EXTREMES,
    EDGE,
    SIGN,
    OLD_CONDITION,
    NULL_KEY,
    KEPT_LAST,
    LINE_CONDITION,
    LINE_SURVIVORS,
    UNKNOWN_FACT,
)


@dataclass(frozen=True)
class ModelView:
    """A view: its key columns, what an event has to meet, and windows in ticks (None for all time).

    `types` and `line_where` are what an event has to meet besides in each line of the view.
    """

    keys: tuple[str, ...]
    where: tuple[str, Any] | None
    windows: tuple[int | None, ...]
    types: tuple[str, ...] = ()
    line_where: tuple[str, Any] | None = None
    base: "ModelView | None" = None

    def counts(self, row: Row) -> bool:
        """Whether an event counts in some row of the view."""
        meets = self.where is None or row[self.where[0]] == self.where[1]
        return meets and all(row[key] is not None for key in self.keys)

    def key(self, row: Row) -> Key:
        """The key of an event."""
        return tuple(row[name] for name in self.keys)

    def is_of(self, row: Row) -> bool:
        """Whether an event is one of those that the lines of the view are about."""
        meets = self.line_where is None or row[self.line_where[0]] == self.line_where[1]
        return meets and (not self.types or row["type"] in self.types)


@dataclass(frozen=True)
class ModelStep:
    """Silver at one refresh and at the next, and their times."""

    before: Silver
    after: Silver
    since: int
    until: int


@dataclass
class GoldRow:
    """One row of gold: how many events it is of, per window the count, the sums and the distinct partners; the last time."""

    events: int = 0
    counts: dict[int | None, int] = field(default_factory=lambda: defaultdict(int))
    sums: dict[int | None, int] = field(default_factory=lambda: defaultdict(int))
    squares: dict[int | None, int] = field(default_factory=lambda: defaultdict(int))
    partners: dict[int | None, int] = field(default_factory=lambda: defaultdict(int))
    last: int | None = None
    largest: dict[int | None, int] = field(default_factory=dict)
    newest: dict[int | None, tuple[int, int]] = field(default_factory=dict)

    def plain(self) -> tuple[Any, ...]:
        """The row as it is compared."""
        return (
            self.events,
            *(tuple(sorted(one.items(), key=str)) for one in map(without_zeros, self.windowed())),
            [(window, self.variance(window)) for window in sorted(without_zeros(self.counts), key=str)],
            self.last,
            sorted(self.largest.items(), key=str),
            sorted(self.newest.items(), key=str),
        )

    def windowed(self) -> tuple[dict[int | None, int], ...]:
        return self.counts, self.sums, self.squares, self.partners

    def variance(self, window: int | None) -> Fraction | None:
        """The population's, of the exact sums."""
        n = self.counts[window]
        return Fraction(n * self.squares[window] - self.sums[window] ** 2, n * n) if n else None


Gold = dict[Key, GoldRow]


def without_zeros(figures: Mapping[int | None, int]) -> dict[int | None, int]:
    return {window: figure for window, figure in figures.items() if figure}


def within(row: Row, window: int | None, as_of: int) -> bool:
    """Whether an event is in a window at a time: after its beginning, and up to the time."""
    return row["time"] <= as_of and (window is None or row["time"] > as_of - window)


def full(view: ModelView, silver: Silver, as_of: int) -> Gold:
    """The view computed from all events."""
    gold: Gold = defaultdict(GoldRow)
    for row in silver.values():
        if not view.counts(row) or row["time"] > as_of:
            continue
        of = gold[view.key(row)]
        of.events += 1
        if view.is_of(row):
            of.last = max(row["time"], of.last if of.last is not None else row["time"])
        for window in view.windows:
            if within(row, window, as_of) and view.is_of(row):
                of.counts[window] += 1
                of.sums[window] += row["amount"]
                of.squares[window] += row["amount"] ** 2
                for best, value in extremes(of, row):
                    best[window] = max(value, best.get(window, value))
    if view.base is not None:
        for base_key, base_row in full(view.base, silver, as_of).items():
            key = tuple(base_key[view.base.keys.index(name)] for name in view.keys)
            for window in view.windows if key in gold else ():
                gold[key].partners[window] += base_row.counts[window] > 0
    return dict(gold)


def signed(view: ModelView, step: ModelStep, broken: str) -> Iterator[tuple[Row, int, int]]:
    """Events with what they weigh at the end and at the beginning: those at edges of windows, and the net of the change feed."""
    lengths = (0, *(window for window in view.windows if window is not None))
    for row in step.after.values():
        spans = [(step.since - length, step.until - length) for length in lengths]
        if any(low < row["time"] < high + (broken != EDGE) for low, high in spans):
            yield row, 1, -1
    for name in {*step.before, *step.after}:
        was, is_now = step.before.get(name), step.after.get(name)
        for image, sign in ((was, -1), (is_now, 1)) if facts(was, view, broken) != facts(is_now, view, broken) else ():
            if image is not None and image["time"] <= step.since:
                yield image, 0, sign if broken != SIGN else abs(sign)


def extremes(of: GoldRow, row: Row) -> tuple[tuple[dict[int | None, Any], Any], ...]:
    """The best that a row of gold has per window, each with what an event brings to it: an amount, and when it came with it."""
    return (of.largest, row["amount"]), (of.newest, (row["time"], row["amount"]))


def bring_extremes(view: ModelView, done: Gold, step: ModelStep, broken: str) -> None:
    """Compare what comes and what leaves with the best of each key and window, and settle those that lost it."""
    coming: dict[Any, Any] = {}
    leaving: dict[Any, Any] = {}
    for row, now, then in signed(view, step, broken):
        is_of = view.is_of(row) or (broken == EXTREME_CONDITION and then < 0)
        if not view.counts(row) or not is_of:
            continue
        for window in view.windows:
            weight = now * within(row, window, step.until) + then * within(row, window, step.since)
            if weight < 0 and broken == EXTREME_EDGE and now:
                continue
            for place, (_, value) in enumerate(extremes(GoldRow(), row)):
                found = coming if weight > 0 or broken == EXTREME_SIGN else leaving
                where = (view.key(row), window, place)
                if weight:
                    found[where] = max(value, found.get(where, value))
    for where in {*coming, *leaving}:
        key, window, place = where
        if key not in done:
            continue
        best, _ = extremes(done[key], {"amount": 0, "time": 0})[place]
        known = [value for value in (best.get(window), coming.get(where)) if value is not None]
        if is_lost(where, known, coming, leaving, broken):
            known = surviving_values(view, step, key, window if broken != EXTREME_SURVIVORS else None, place)
        best.pop(window, None)
        best.update({window: max(known)} if known else {})


def is_lost(where: Any, known: list[Any], coming: dict[Any, Any], leaving: dict[Any, Any], broken: str) -> bool:
    """Whether what leaves is as good as the best that is known."""
    if where not in leaving or (broken == EXTREME_LATE and where in coming):
        return False
    best = max(known, default=leaving[where])
    return bool(leaving[where] > best if broken == EXTREME_TIE else leaving[where] >= best)


def surviving_values(view: ModelView, step: ModelStep, key: Key, window: int | None, place: int) -> list[Any]:
    """What the events of a key that are left in a window bring to an extreme."""
    of_key = (row for row in step.after.values() if view.counts(row) and view.key(row) == key and view.is_of(row))
    return [extremes(GoldRow(), row)[place][1] for row in of_key if within(row, window, step.until)]


def square(row: Row, weight: int, *, expired: bool, broken: str) -> int:
    """What a signed event adds to the squares."""
    if broken == SQUARES_EDGE and expired and weight < 0:
        return 0
    if broken == SQUARES_TIE and not expired and row["amount"] < 0:
        return 0
    amount: int = row["amount"]
    return (abs(weight) if broken == SQUARES_SIGN else weight) * amount * amount


def facts(row: Row | None, view: ModelView, broken: str) -> Row | None:
    """What decides whether an event changed."""
    if row is None or broken != UNKNOWN_FACT or view.line_where is None:
        return row
    return {name: value for name, value in row.items() if name != view.line_where[0]}


def refresh(
    view: ModelView, gold: Gold, step: ModelStep, *, base_before: Gold, base_after: Gold, broken: str = NOTHING
) -> Gold:
    """Gold brought forward by what changed."""
    done = {key: copied(row) for key, row in gold.items()}
    lost = set[Key]()
    for row, now, then in signed(view, step, broken):
        if not counts_in_increment(view, row, then, broken):
            continue
        of = done.setdefault(view.key(row), GoldRow())
        gained = now * (row["time"] <= step.until) + then * (row["time"] <= step.since)
        of.events += gained
        of_line = view.is_of(row) or (broken == LINE_CONDITION and then < 0)
        if gained > 0 and of_line:
            of.last = max(row["time"], of.last if of.last is not None else row["time"])
        if gained < 0:
            lost.add(view.key(row))
        for window in view.windows:
            weight = now * within(row, window, step.until) + then * within(row, window, step.since)
            if of_line:
                of.counts[window] += weight
                of.sums[window] += weight * row["amount"]
            if of_line or (broken == SQUARES_CONDITION and then < 0):
                of.squares[window] += square(row, weight, expired=now != 0, broken=broken)
    for key in lost if broken != KEPT_LAST else ():
        done[key].last = max(surviving_times(view, step, key, broken), default=None)
    if view.base is not None:
        add_partners(view, done, base_before, base_after)
    bring_extremes(view, done, step, broken)
    return {key: row for key, row in done.items() if row.events}


def surviving_times(view: ModelView, step: ModelStep, key: Key, broken: str) -> Iterator[int]:
    """When the events of a key that are left, and that the lines are about, happened."""
    for row in step.after.values():
        is_of = view.is_of(row) or broken == LINE_SURVIVORS
        if row["time"] <= step.until and view.counts(row) and view.key(row) == key and is_of:
            yield row["time"]


def counts_in_increment(view: ModelView, row: Row, then: int, broken: str) -> bool:
    if broken == OLD_CONDITION and then < 0:
        return all(row[key] is not None for key in view.keys)
    if broken == NULL_KEY:
        return view.where is None or row[view.where[0]] == view.where[1]
    return view.counts(row)


def add_partners(view: ModelView, done: Gold, base_before: Gold, base_after: Gold) -> None:
    """Add what the rows of the base view that changed say about how many of them are active."""
    assert view.base is not None
    for base_key in {*base_before, *base_after}:
        key = tuple(base_key[view.base.keys.index(name)] for name in view.keys)
        for sign, base in ((-1, base_before), (1, base_after)):
            row = base.get(base_key, GoldRow())
            for window in view.windows if key in done else ():
                done[key].partners[window] += sign * (row.counts[window] > 0)


def copied(row: GoldRow) -> GoldRow:
    of = GoldRow(events=row.events, last=row.last, largest=dict(row.largest), newest=dict(row.newest))
    for mine, theirs in zip(of.windowed(), row.windowed(), strict=True):
        mine.update(theirs)
    return of
