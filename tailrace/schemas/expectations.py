"""What rows are expected to be like, in the words of Great Expectations, which this module does not import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Expectation:
    """One of Great Expectations' expectations: its name there, and its arguments.

    `least_rows` is how many rows there must be for it to mean anything; it is left out for fewer.
    """

    name: str
    arguments: Mapping[str, Any] = field(hash=False)
    least_rows: int = 0

    @property
    def condition(self) -> str | None:
        """The SQL condition that this expectation is about; None for one about columns."""
        column, values = self.arguments.get("column"), self.arguments.get("value_set")
        is_truth = self.name == HOLDS and values == [True] and values[0] is True
        return column if is_truth else None

    @property
    def unique_together(self) -> tuple[str, ...]:
        """The columns that are to be unique together; none for an expectation about anything else."""
        is_it = self.name == UNIQUE_TOGETHER and [*self.arguments] == [COLUMNS]
        return tuple(self.arguments[COLUMNS]) if is_it else ()

    def __str__(self) -> str:
        if self.condition is not None:
            share = self.arguments.get("mostly", 1)
            rows = "every row" if share == 1 else f"{share:.0%} of the rows"
            return f"expected {rows} to have {self.condition}"
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


HOLDS = "expect_column_values_to_be_in_set"
UNIQUE = "expect_column_values_to_be_unique"
UNIQUE_TOGETHER = "expect_compound_columns_to_be_unique"
COLUMNS = "column_list"


def expect(name: str, *, least_rows: int = 0, **arguments: Any) -> Expectation:
    """An expectation as <https://greatexpectations.io/expectations> lists them, such as `expect_column_mean_to_be_between`."""
    return Expectation(name, arguments, least_rows)


def holds(condition: str) -> Expectation:
    """Every row meets a SQL condition, or leaves it null; its truth is a column of that name where it is looked at."""
    return expect(HOLDS, column=condition, value_set=[True])


def is_never_null(column: str) -> Expectation:
    """No row has null in a column."""
    return expect("expect_column_values_to_not_be_null", column=column)


def is_unique(columns: tuple[str, ...]) -> Expectation:
    """No two rows are equal in these columns."""
    if len(columns) == 1:
        return expect(UNIQUE, column=columns[0])
    return Expectation(UNIQUE_TOGETHER, {COLUMNS: list(columns)})
