"""Silver: one row per event and per key of a table, the last delivery of each; and rows that are derived from these."""

from collections.abc import Iterable
from dataclasses import replace

from tailrace.schemas import bronze
from tailrace.schemas.expectations import holds, is_never_null
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


def derived_table(
    name: str,
    facts: Iterable[Column],
    *,
    parent: tuple[str, ...],
    key: tuple[str, ...],
    checks: Iterable[str] = (),
    times: Iterable[str] = (),
) -> Table:
    """A table of rows that are made of other silver rows, those of one `parent` replaced together.

    A declaration may change, and its table with it: what Delta would hold on to, constraints and columns that are never
    null, is left to the gate, but for the parent's ids.
    """
    facts = tuple(facts)
    never_null = (is_never_null(one.name) for one in facts if not one.nullable)
    return Table(
        layer="silver",
        name=name,
        fields=tuple(one if one.name in parent else replace(one, nullable=True) for one in facts),
        key=key,
        statistics=tuple(times),
        change_feed=True,
        rows_change=True,
        expectations=(*never_null, *map(holds, checks)),
    )


def check_of(column: Column, *, pattern: str | None = None) -> str | None:
    """The SQL condition that a column's declared bounds come to; None where it has none."""
    conditions = []
    if pattern is not None:
        escaped = pattern.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\u0024{")
        # Tables of before have the text without the brackets, which changes nothing for patterns without alternatives.
        whole = f"(?:{escaped})" if "|" in escaped else escaped
        conditions.append(f"{column.name} rlike '^{whole}$'")
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
