"""Columns of an Arrow batch as the codec takes them."""

import numpy as np
import pyarrow as pa

from tailrace.schemas.tables import Column, Type
from tailrace.store.codec import ColumnValues

DTYPES = {Type.INT64: np.int64, Type.FLOAT64: np.float64, Type.BOOL: np.bool_}


def column_values(array: pa.Array, feature: Column) -> ColumnValues:
    """One feature of a batch; nulls become any value that is marked as not valid."""
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if feature.type is Type.STRING:
        return ColumnValues(array.to_numpy(zero_copy_only=False), valid)
    if feature.type is Type.TIMESTAMP:
        micros = array.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).fill_null(0)
        return ColumnValues(micros.to_numpy().astype("datetime64[us]"), valid)
    filled = array.fill_null(False if feature.type is Type.BOOL else 0)
    return ColumnValues(filled.to_numpy(zero_copy_only=False).astype(DTYPES[feature.type], copy=False), valid)
