"""Silver: one row per event and per key of a table, the last delivery of each."""

from collections.abc import Iterable

from tailrace.schemas import bronze
from tailrace.schemas.tables import Column, Table

LAST_DELIVERY = tuple(field for field in bronze.DELIVERY if field.name in bronze.DELIVERY_ORDER)


def last_delivery_table(
    name: str, facts: Iterable[Column], *, key: tuple[str, ...], checks: Iterable[str] = (), times: Iterable[str] = ()
) -> Table:
    """The silver table of a feed: the last delivery of each `key`; `times` are the columns that ranges are read by."""
    return Table(
        layer="silver",
        name=name,
        fields=(*facts, *LAST_DELIVERY),
        key=key,
        checks=tuple(checks),
        statistics=tuple(times),
        change_feed=True,
        rows_change=True,
    )


def check_of(column: Column, *, pattern: str | None = None) -> str | None:
    """The SQL condition that a column's declared bounds come to; None where it has none."""
    conditions = []
    if pattern is not None:
        escaped = pattern.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\u0024{")
        conditions.append(f"{column.name} rlike '^{escaped}$'")
    for sign, bound in ((">=", column.minimum), ("<=", column.maximum)):
        if bound is not None:
            conditions.append(f"{column.name} {sign} {bound}")
    if not conditions:
        return None
    condition = " and ".join(conditions)
    if not column.nullable:
        return condition
    either = condition if len(conditions) == 1 else f"({condition})"
    return f"{column.name} is null or {either}"
