"""One feature of many rows, as numpy arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.tables import Type

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

DTYPES = {
    Type.INT64: np.dtype("i8"),
    Type.FLOAT64: np.dtype("f8"),
    Type.BOOL: np.dtype("?"),
    Type.TIMESTAMP: np.dtype("M8[us]"),
    Type.STRING: np.dtype("O"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """Values of `DTYPES[type]`, meaningful where `valid`; a row is `valid` only where it was `found`.

    `as_of` is what each value's header says, as datetime64[us], and 1970 where nothing was found.
    """

    type: Type
    values: Array
    valid: Mask
    found: Mask
    as_of: Array


def nothing_found(type_: Type, rows: int) -> Column:
    values, as_of = np.zeros(rows, DTYPES[type_]), np.zeros(rows, DTYPES[Type.TIMESTAMP])
    return Column(type=type_, values=values, valid=np.zeros(rows, bool), found=np.zeros(rows, bool), as_of=as_of)


def fanned_out(columns: Sequence[Column], at: Array) -> list[Column]:
    """Give each row the value `at` its position; -1 stands for no value.

    There is at least one value, none is left out, and they are in the order in which rows first ask for them.
    """
    if len(at) == len(columns[0].values):  # one value for each row, and so in the rows' order
        return list(columns)
    somewhere, position = at >= 0, np.maximum(at, 0)
    shared: dict[int, Array] = {}  # columns of one view mostly have the same `found` and `as_of`
    fanned = []
    for column in columns:
        if id(column.found) not in shared:
            shared[id(column.found)] = column.found[position] & somewhere
            shared[id(column.as_of)] = np.where(somewhere, column.as_of[position], np.datetime64(0, "us"))
        fanned.append(
            Column(
                type=column.type,
                values=column.values[position],
                valid=column.valid[position] & somewhere,
                found=shared[id(column.found)],
                as_of=shared[id(column.as_of)],
            )
        )
    return fanned
