"""Reproducible draws: equal keys give equal numbers on every platform."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Draws:
    """One stream of random numbers, named by its key.

    Only the raw output of PCG64 is used, which numpy never changes, and arithmetic that IEEE 754 defines to the
    last bit. numpy's distributions may change between versions, and logarithms differ between platforms.
    """

    def __init__(self, name: str, *key: int) -> None:
        self._source = np.random.PCG64(np.random.SeedSequence([int.from_bytes(name.encode()), *key]))

    def raw(self) -> int:
        """Draw one number below 2**64."""
        return int(self._source.random_raw())

    def uniform(self, count: int) -> Floats:
        """Draw numbers from 0 up to, but not including, 1."""
        raw: NDArray[np.uint64] = self._source.random_raw(count)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, limit: int | Ints, count: int) -> Ints:
        """Draw integers from 0 up to, but not including, `limit`."""
        return np.floor(self.uniform(count) * limit).astype(np.int64)

    def chance(self, probability: float, count: int) -> NDArray[np.bool_]:
        return self.uniform(count) < probability

    def order(self, count: int) -> Ints:
        """Draw a permutation of 0 … count - 1."""
        return np.argsort(self.uniform(count), kind="stable")

    def pick(self, weights: Ints | Floats, count: int) -> Ints:
        """Draw positions of `weights`, each as often as its weight says."""
        cumulative = np.cumsum(weights)
        positions: Ints = np.searchsorted(cumulative, self.uniform(count) * cumulative[-1], side="right")
        return positions

    def pick_within(self, weights: Floats, first: Ints, stop: Ints) -> Ints:
        """Draw one position for each pair, of `weights[first:stop]`, or of all where that is empty."""
        some = first < stop
        first, stop = np.where(some, first, 0), np.where(some, stop, len(weights))
        cumulative = np.concatenate([[0.0], np.cumsum(weights)])
        values = cumulative[first] + self.uniform(len(first)) * (cumulative[stop] - cumulative[first])
        # Rounding may carry a value over the edge of its block.
        positions: Ints = np.clip(np.searchsorted(cumulative, values, side="right") - 1, first, stop - 1)
        return positions


def zipf(order: Ints, *, head: int) -> Floats:
    """Weigh each position by its place in `order`: 1 / (head + place), so a larger head is less steep."""
    weights = np.empty(len(order))
    weights[order] = 1.0 / np.arange(head, head + len(order))
    return weights
