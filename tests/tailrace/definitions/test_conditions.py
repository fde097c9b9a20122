"""Conditions whose truth is not that of one row, whenever it is looked at, are refused when definitions load."""

import pytest

from tailrace.definitions.sql_condition import check_condition
from tailrace.errors import DefinitionError

OF_MORE_THAN_A_ROW = (
    "ts <= timestamp 'now'",
    "day = CAST('Today ' AS date)",
    "rank in (select rank from silver.events)",
    "exists (select 1 from delta.`/x`)",
    "rank = reflect('java.util.UUID', 'randomUUID')",
    "input_file_block_start() > rank",
    "current_timezone() = 'x'",
    "count(*) > 1",
    "max(rank) > 1",
    "row_number() over (order by rank) < 3",
    "explode(array(rank)) > 1",
    "rank as r",
    "rank <= :p",
    "rank > 1; rank > 2",
    "nowhere > 1",
    "rank > 1;",
    "query = '${spark.app.name}'",
    "rank > 1 /* and",
)
OF_A_ROW = (
    "rank <= 10",
    "clicked AND NOT (rank > 3 OR ts IS NULL)",
    "query = 'now' OR query LIKE '%today%'",
    "lower(query) IN ('a', 'b')",
    "ts >= timestamp '2026-01-01 00:00:00'",
    "query rlike '^a|b$'",
    "abs(rank) BETWEEN 1 AND 3",
)
KNOWN = ("rank", "ts", "day", "query", "clicked")


@pytest.mark.parametrize("condition", OF_MORE_THAN_A_ROW)
def test_what_depends_on_more_than_the_row_is_refused(condition):
    with pytest.raises(DefinitionError, match="view 'v', field 'where'"):
        check_condition(condition, known=KNOWN, here="view 'v', field 'where'", why="as each refresh counts alike")


@pytest.mark.parametrize("condition", OF_A_ROW)
def test_what_a_row_says_by_itself_is_accepted(condition):
    check_condition(condition, known=KNOWN, here="view 'v', field 'where'", why="as each refresh counts alike")
