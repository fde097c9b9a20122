"""The words a contract is written in: a table, its columns and their types."""

from dataclasses import dataclass, field

from tailrace.schemas.expectations import Expectation, holds, is_never_null, is_unique
from tailrace.schemas.types import Type

__all__ = ["Column", "Table", "Type"]


@dataclass(frozen=True)
class Column:
    """One column. `minimum` and `maximum` bound a number, `longest` the bytes of a text in UTF-8, where it is written from
    outside; they are no part of what the column is.
    """

    name: str
    type: Type
    meaning: str
    nullable: bool = True
    minimum: float | None = field(default=None, kw_only=True, repr=False)
    maximum: float | None = field(default=None, kw_only=True, repr=False)
    longest: int | None = field(default=None, kw_only=True, repr=False)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One Delta table.

    `key` columns are unique together and never null. `checks` are SQL conditions that hold for every row.
    `statistics` are the columns whose minimum and maximum are kept per file; identifying columns stay
    out of it, because a vacuumed table still holds the statistics of what was deleted. `expectations` are checked by
    the quality gate, with those that follow from the contract. `rows_change` says that rows are updated or removed, not
    only appended: only such a table has deletion vectors, which many readers of Delta do not know.
    """

    layer: str
    name: str
    fields: tuple[Column, ...]
    key: tuple[str, ...]
    checks: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    change_feed: bool = False
    rows_change: bool = False
    expectations: tuple[Expectation, ...] = ()

    @property
    def promises(self) -> tuple[Expectation, ...]:
        """Everything that the quality gate holds new rows to: what follows from the contract, then what is added to it."""
        promised = dict.fromkeys((*self.key, *(field.name for field in self.fields if not field.nullable)))
        conditions = (*self.checks, *(elements_hold(field) for field in self.fields if field.type.info.element))
        of_rows = (*map(is_never_null, promised), is_unique(self.key), *map(holds, conditions))
        return (*of_rows, *self.expectations)

    @property
    def full_name(self) -> str:
        """Layer and name, such as `gold.document_activity`."""
        return f"{self.layer}.{self.name}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(field.name for field in self.fields)

    @property
    def ddl(self) -> str:
        """The columns as a Spark DDL string, key columns NOT NULL."""
        return ", ".join(
            f"`{field.name}` {field.type.info.sql}" + ("" if field.nullable else " NOT NULL") for field in self.fields
        )


def elements_hold(field: Column) -> str:
    """The SQL condition that a list or vector has no null, no NaN and no infinity in it, and as many elements as its type says."""
    type_ = field.type
    counted = [f"size(`{field.name}`) = {type_.info.length}"] if type_.info.length else []
    counted += [f"size(`{field.name}`) <= {type_.at_most}"] if type_.at_most else []
    usable = "one IS NOT NULL" if type_.info.element in {Type.STRING, Type.INT64} else "abs(one) < double('infinity')"
    return " AND ".join([*counted, f"forall(`{field.name}`, one -> coalesce({usable}, false))"])
