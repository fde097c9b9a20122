"""Types and columns of Arrow, as the codec takes them."""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tailrace.errors import DataError
from tailrace.schemas.tables import Column, Type
from tailrace.store.codec import ColumnValues


@cache
def arrow_type(type_: Type) -> pa.DataType:
    """A type as Arrow has it; times are UTC, vectors of fixed size."""
    if type_.info.element is not None:
        return pa.list_(arrow_type(type_.info.element), -1 if type_.info.length is None else type_.info.length)
    found = pa.type_for_alias(type_.packed.arrow)
    return pa.timestamp(found.unit, "UTC") if pa.types.is_timestamp(found) else found


def column_values(array: pa.Array, feature: Column) -> ColumnValues:
    """One feature of a batch; nulls become any value that is marked as not valid."""
    valid, dtype = array.is_valid().to_numpy(zero_copy_only=False), np.dtype(feature.type.packed.numpy)
    if feature.type.info.element is not None:
        return ColumnValues(many_values(array, feature, valid), valid)
    if dtype.kind == "O":
        return ColumnValues(array.to_numpy(zero_copy_only=False), valid)
    if dtype.kind == "M":
        times = array.cast(arrow_type(feature.type))
        whole = times.cast(pa.int64() if times.type.bit_width == 64 else pa.int32()).fill_null(0)
        return ColumnValues(whole.to_numpy().astype(dtype), valid)
    filled = array.fill_null(False if dtype.kind == "b" else 0)
    return ColumnValues(filled.to_numpy(zero_copy_only=False).astype(dtype, copy=False), valid)


def many_values(array: pa.Array, feature: Column, valid: np.ndarray) -> np.ndarray:
    """Vectors as a matrix, lists as objects; raises `DataError` for a null in one, and a vector of another length."""
    length = feature.type.info.length
    elements = array.flatten()
    if elements.null_count:
        raise DataError(
            f"feature {feature.name!r}: a value has null among its elements; leave it out or make all of it null"
        )
    if length is None:
        return np.fromiter(array.to_pylist(), object, len(array))
    lengths = pc.unique(pc.list_value_length(array).drop_null()).to_pylist()
    if lengths not in ([], [length]):
        other = next(one for one in lengths if one != length)
        raise DataError(f"feature {feature.name!r}: a value has {other} numbers, and is a vector of {length}")
    found = np.zeros(len(array), np.dtype(feature.type.packed.numpy))
    found[valid] = elements.to_numpy(zero_copy_only=False).reshape(-1, length)
    return found
