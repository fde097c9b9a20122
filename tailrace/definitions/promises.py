"""What holds for every row of a declared view, whatever happened: the quality gate looks at it in each refresh."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from tailrace.definitions.aggregation import Aggregation, Count, Distinct, First, Last
from tailrace.definitions.window import Window


def conditions_of(aggregations: Iterable[Aggregation]) -> Iterator[str]:
    """SQL conditions: what is counted in a window is counted in every longer one, and the first is not after the last."""
    lines = tuple(aggregations)
    for line in lines:
        if isinstance(line, Count):
            yield " AND ".join(rising(line))
        elif isinstance(line, Distinct):  # of rows whose number may be a sum, which may fall in a longer window
            yield " AND ".join(f"{feature.name} >= 0" for feature in line.features)
    for first in lines:
        for last in lines:
            if isinstance(first, First) and isinstance(last, Last) and first.types == last.types:
                yield f"{first.name} <= {last.name}"


def rising(line: Count) -> Iterator[str]:
    by_length = sorted(line.windows, key=length_of)
    names = [f"{line.name}_{window.name}" for window in by_length]
    yield f"{names[0]} >= 0"
    for shorter, longer in pairwise(names):
        yield f"{shorter} <= {longer}"


def length_of(window: Window) -> float:
    return window.length.total_seconds() if window.length else float("inf")
