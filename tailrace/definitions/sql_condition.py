"""SQL conditions in definitions: parsed, and refused where they depend on more than a row."""

from collections.abc import Iterable

import sqlglot
import sqlglot.errors
import sqlglot.expressions
from sqlglot import TokenType

from tailrace.errors import DefinitionError

# Functions of Spark whose answer does not follow from what they are given.
CHANGING = frozenset(
    [
        "curdate",
        "current_timezone",
        "current_date",
        "current_time",
        "current_timestamp",
        "current_user",
        "getdate",
        "input_file_block_length",
        "input_file_block_start",
        "input_file_name",
        "java_method",
        "localtimestamp",
        "monotonically_increasing_id",
        "now",
        "rand",
        "randn",
        "random",
        "randstr",
        "reflect",
        "session_user",
        "shuffle",
        "spark_partition_id",
        "uniform",
        "unix_timestamp",
        "user",
        "uuid",
    ]
)

CLOCK_WORDS = frozenset(["now", "today", "tomorrow", "yesterday"])  # that a time may be written as
# What depends on other rows or tables, or gives several rows.
OF_OTHER_ROWS = (
    sqlglot.expressions.Query,
    sqlglot.expressions.Exists,
    sqlglot.expressions.AggFunc,
    sqlglot.expressions.Window,
    sqlglot.expressions.UDTF,
    sqlglot.expressions.Explode,
    sqlglot.expressions.Alias,
    sqlglot.expressions.Placeholder,
    sqlglot.expressions.Parameter,
)


def is_clock(literal: sqlglot.expressions.Literal) -> bool:
    """Whether a text is read as a time that the clock gives, as in `timestamp 'now'`."""
    return literal.this.strip().lower() in CLOCK_WORDS and isinstance(literal.parent, sqlglot.expressions.Cast)


def check_condition(
    condition: str, *, known: Iterable[str], here: str, why: str, what: str = "a feature of this view"
) -> None:
    """Raise `DefinitionError` for a condition that Spark would refuse, or whose truth depends on more than the row.

    `known` are the columns that it may name, each of them `what`; the message begins with `here`.
    """
    parsed = _parsed(condition, here=here)
    if "${" in condition:
        raise DefinitionError(f"{here}: {condition!r} has a setting of Spark in it; write its value, {why}")
    for word in sqlglot.tokenize(condition, dialect="spark"):
        if word.token_type is not TokenType.STRING and word.text.lower() in CHANGING:
            raise DefinitionError(
                f"{here}: {word.text!r} gives another answer each time; a row is checked by its features only, {why}"
            )
    for node in parsed.walk():
        if isinstance(node, OF_OTHER_ROWS):
            raise DefinitionError(f"{here}: {node.sql(dialect='spark')!r} is not about one row, {why}")
        if isinstance(node, sqlglot.expressions.Literal) and node.is_string and is_clock(node):
            raise DefinitionError(f"{here}: {node.sql()} gives another answer each time, {why}")
    for column in parsed.find_all(sqlglot.expressions.Column):
        if column.sql() not in known:
            raise DefinitionError(f"{here}: {column.sql()!r} is not {what}")


def _parsed(condition: str, *, here: str) -> sqlglot.expressions.Expr:
    """The one expression of a text."""
    try:
        [parsed] = sqlglot.parse(condition, dialect="spark")
        words = sqlglot.tokenize(condition, dialect="spark")
    except (sqlglot.errors.SqlglotError, ValueError) as error:
        raise DefinitionError(f"{here}: {condition!r} is not a SQL condition") from error
    if parsed is None or any(word.token_type is TokenType.SEMICOLON for word in words):
        raise DefinitionError(f"{here}: {condition!r} is not a SQL condition")
    return parsed
