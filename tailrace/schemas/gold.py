"""Gold: one table per feature view, one row per entity key."""

from collections.abc import Iterable

from tailrace.schemas.expectations import Expectation
from tailrace.schemas.tables import Column, Table


def gold_table(
    view: str,
    *,
    keys: Iterable[Column],
    features: Iterable[Column],
    state: Iterable[Column] = (),
    expectations: Iterable[Expectation] = (),
) -> Table:
    """The contract of a view's gold table: its keys, its features in the order they are declared, its state."""
    keys = tuple(keys)
    return Table(
        layer="gold",
        name=view,
        fields=(*keys, *features, *state),
        key=tuple(key.name for key in keys),
        change_feed=True,
        rows_change=True,
        expectations=tuple(expectations),
    )
