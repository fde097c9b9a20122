"""Types and columns of Arrow, as the codec takes them."""

from functools import cache

import numpy as np
import pyarrow as pa

from tailrace.schemas.tables import Column, Type
from tailrace.store.codec import ColumnValues


@cache
def arrow_type(type_: Type) -> pa.DataType:
    """A type as Arrow has it; times are UTC."""
    found = pa.type_for_alias(type_.packed.arrow)
    return pa.timestamp(found.unit, "UTC") if pa.types.is_timestamp(found) else found


def column_values(array: pa.Array, feature: Column) -> ColumnValues:
    """One feature of a batch; nulls become any value that is marked as not valid."""
    valid, dtype = array.is_valid().to_numpy(zero_copy_only=False), np.dtype(feature.type.packed.numpy)
    if dtype.kind == "O":
        return ColumnValues(array.to_numpy(zero_copy_only=False), valid)
    if dtype.kind == "M":
        times = array.cast(arrow_type(feature.type))
        whole = times.cast(pa.int64() if times.type.bit_width == 64 else pa.int32()).fill_null(0)
        return ColumnValues(whole.to_numpy().astype(dtype), valid)
    filled = array.fill_null(False if dtype.kind == "b" else 0)
    return ColumnValues(filled.to_numpy(zero_copy_only=False).astype(dtype, copy=False), valid)
