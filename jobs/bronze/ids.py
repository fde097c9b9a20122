"""The rule of `tailrace.schemas.ids` for columns: fields of JSON lines, and numbers of Parquet files."""

from collections.abc import Iterator

from pyspark.sql import Column
from pyspark.sql import functions as F

from tailrace.schemas import ids

WHOLE_KINDS = r"^(BIGINT|DECIMAL\(\d+,0\))$"  # Spark drops the zeros behind a point; with an exponent it is a DOUBLE


def id_text(kind: Column, text: Column) -> Column:
    """The text that a JSON value of this type stands for as an id, null if none; `text` is the value as a string."""
    smallest, largest = (F.lit(str(end)).cast("decimal(38,0)") for end in (ids.SMALLEST, ids.LARGEST))
    is_whole = kind.rlike(WHOLE_KINDS) & text.try_cast("decimal(38,0)").between(smallest, largest)
    return F.when((kind == "STRING") | is_whole, text)


def id_problems(text: Column, *, may_be_empty: bool) -> Iterator[tuple[Column, str]]:
    """Conditions under which a text cannot be an id, with the reason, in the order of `tailrace.schemas.ids.problem_of`."""
    if not may_be_empty:
        yield F.length(text) == 0, ids.EMPTY
    yield F.octet_length(text) > ids.MAXIMUM_BYTES, ids.TOO_LONG
    yield text.rlike(ids.CONTROL.pattern), ids.HAS_CONTROL
