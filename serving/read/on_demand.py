"""On-demand features, finished from the columns that were read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.read.columns import Array, Column, Found, Mask, nothing_found
from tailrace.definitions import OnDemandFeature
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Type


class OnDemandError(DefinitionError):
    """An on-demand feature whose function fails; the message names it."""


def compute(feature: OnDemandFeature, columns: Mapping[str, Column], *, now: int) -> Column:
    """One on-demand feature of every row; `now` is microseconds since 1970.

    The function sees the rows whose inputs all have values. The others are null, as is a row whose result is
    NaN or NaT. A row was found if all of its inputs were, and is else what the least of them is; it is as new as the
    newest of them.
    """
    inputs = [columns[reference] for reference in feature.inputs]
    column = nothing_found(feature.type, len(inputs[0].values))
    column.found[:] = np.minimum.reduce([one.found for one in inputs])
    found = column.found == Found.FOUND
    column.as_of[found] = np.maximum.reduce([one.as_of for one in inputs])[found]
    complete = np.logical_and.reduce([one.valid for one in inputs])
    if complete.any():
        values, known = results(feature, [one.values[complete] for one in inputs], now=now)
        rows = np.flatnonzero(complete)[known]
        column.values[rows], column.valid[rows] = values, True
    return column


def results(feature: OnDemandFeature, arrays: Sequence[Array], *, now: int) -> tuple[Array, Mask]:
    """The results that are values, in the declared type, and which ones they are."""
    moment: dict[str, Any] = {"now": np.datetime64(now, "us")} if feature.wants_now else {}
    try:
        with np.errstate(all="ignore"):  # a division by zero is answered, not warned of
            result = np.broadcast_to(np.asarray(feature.compute(*arrays, **moment)), arrays[0].shape)
            known = ~is_nothing(feature.type, result)
            return result[known].astype(feature.type.packed.numpy), known
    except Exception as error:
        raise OnDemandError(f"on-demand feature {feature.name!r} failed: {type(error).__name__}: {error}") from error


def is_nothing(type_: Type, result: Array) -> Mask:
    """Where a result stands for null; an integer has no room for an infinity either."""
    if result.dtype.kind in "mM":
        return np.isnat(result)
    if result.dtype.kind == "f":
        return np.isnan(result) if np.dtype(type_.packed.numpy).kind == "f" else ~np.isfinite(result)
    if result.dtype.kind == "O":
        return np.array([one is None for one in result], bool)
    return np.zeros(len(result), bool)
