"""An answer of the reader as arrays and tables, by numpy and pyarrow."""

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from serving.common.interface import ARROW_METADATA
from serving.read.columns import STATUSES, Array, Found

if TYPE_CHECKING:
    import pandas as pd


class Features:
    """An answer: a column per feature, a row per row of entity keys.

    `table` has the values, null where there is none; `views` the facts of each view: lane, watermark and age.
    """

    def __init__(self, stream: bytes) -> None:
        whole = pa.ipc.open_stream(stream).read_all()
        metadata = orjson.loads(whole.schema.metadata[ARROW_METADATA])
        self.views: dict[str, Any] = metadata["views"]
        self.table: pa.Table = whole.select([name for name in whole.column_names if not name.startswith("#")])
        self._whole: pa.Table = whole
        self._found: dict[str, str] = metadata["found"]
        self._times: dict[str, str] = metadata["times"]

    def numpy(self, name: str, *, missing: Any = None) -> Array:
        """The values of one feature, `missing` where there is none; raises `ValueError` if that is needed and None.

        A vector is a matrix with a row for each, where `missing` stands for each number.
        """
        column = self.table[name]
        if column.null_count:
            if missing is None:
                rows = np.flatnonzero(column.is_null().to_numpy()).tolist()
                raise ValueError(
                    f"feature {name!r} has no value in rows {rows[:10]}; say what stands for it: missing=…"
                )
            if pa.types.is_fixed_size_list(column.type):
                missing = [missing] * column.type.list_size
            column = pc.fill_null(column, pa.scalar(missing, column.type))
        if pa.types.is_fixed_size_list(column.type):
            matrix: Array = column.combine_chunks().flatten().to_numpy().reshape(-1, column.type.list_size)
            return matrix
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us"))  # numpy knows no time zones; these are UTC
        values: Array = column.to_numpy()
        return values

    def statuses(self, name: str) -> Array:
        """Per row `PRESENT`, or why there is no value."""
        valid = self.table[name].is_valid().to_numpy()
        found = self._whole[self._found[name]].to_numpy() if name in self._found else np.uint8(Found.FOUND)
        statuses: Array = STATUSES[found + valid]
        return statuses

    def times(self, name: str) -> Array:
        """Per row when the value last changed, NaT where there is none; raises `KeyError` unless asked for."""
        times: Array = self._whole[self._times[name]].cast(pa.timestamp("us")).to_numpy()
        return times

    def pandas(self) -> "pd.DataFrame":
        """A frame of Arrow-backed columns: integers with nulls stay integers."""
        import pandas as pd

        frame: pd.DataFrame = self.table.to_pandas(types_mapper=pd.ArrowDtype)
        return frame
