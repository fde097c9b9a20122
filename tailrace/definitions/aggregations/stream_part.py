"""How the stream keeps an aggregation: numpy over the new events of one micro-batch."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tailrace.definitions.names import Window
from tailrace.schemas.tables import Column

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """The new events of a micro-batch, as one view sees them.

    Of each event: the place of its key, its type, and its time in microseconds. Of each pair of an actor and a document:
    the place of its key in the view, and when its newest event was, after this micro-batch and before it (0 for none).
    """

    key: "Array"
    type: "Array"
    at: "Array"
    pair: "Array"
    last: "Array"
    before: "Array"

    def are_of(self, types: tuple[str, ...]) -> "Array":
        """Which events are of one of these types, or of any where none is named."""
        import numpy as np

        return np.isin(self.type, types) if types else np.ones(len(self.at), bool)


class Additions(NamedTuple):
    """What an aggregation adds: the place of each key, the time at which it counts in microseconds, and the amount."""

    key: "Array"
    at: "Array"
    amount: "Array"


def no_fold(_kept: "Mapping[str, Array]", _additions: Additions) -> "Mapping[str, Array]":
    """Nothing is kept but buckets."""
    return {}


@dataclass(frozen=True, kw_only=True)
class StreamPart:
    """What the stream keeps of one aggregation.

    Amounts are added up in buckets of each of `windows`; `features` are stored as they are, and `fold` gives them anew.
    """

    additions: Callable[[Arrivals], Iterable[Additions]]
    windows: tuple[Window, ...] = ()
    features: tuple[Column, ...] = ()
    fold: "Callable[[Mapping[str, Array], Additions], Mapping[str, Array]]" = no_fold
