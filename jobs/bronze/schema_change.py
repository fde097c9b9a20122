"""A source that is declared otherwise than before: its tables follow, or the change is refused before anything is loaded."""

import json
import logging
import re
from dataclasses import replace

from pyspark.errors import AnalysisException
from pyspark.sql.types import StructType

from jobs.bronze.listing import CONFORMED
from tailrace.errors import DefinitionError
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import Feed
from tailrace.schemas.tables import Table

log = logging.getLogger(__name__)

TEXT_OR_SIGN = re.compile(r"'(?:\\.|[^'\\])*'|\S", re.DOTALL)
PARTLY = "partly"  # what tables were brought to where some could not follow; no digest is this
BROKEN = "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION"


def conform(lake: Lake, feed: Feed) -> None:
    """Bring the tables of a feed to what is declared; raises `DefinitionError`, and changes nothing, where that cannot be.

    A field that is new gets a column, null in the rows that are there. The column of one that is gone stays.
    """
    tables = [table for table in (feed.table, feed.silver) if table and lake.exists(table)]
    for table in tables:
        check_types(lake, feed, table)
    for table in tables:
        conform_columns(lake, table)
        conform_checks(lake, table)


def remember_conformed(lake: Lake, digest: str) -> None:
    """Note what tables were brought to."""
    path = lake.path(bronze.FILES)
    lake.spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('{CONFORMED}' = '{digest}')")


def schema_there(lake: Lake, table: Table) -> StructType:
    """The columns that a table has, with whether they may be null."""
    return StructType.fromJson(json.loads(lake.snapshot(table).schema().json()))


def check_types(lake: Lake, feed: Feed, table: Table) -> None:
    """Raise `DefinitionError` for a field of another type than its column, and for another id of silver's rows."""
    there = {column.name: column for column in schema_there(lake, table).fields}
    for column in table.fields:
        if column.name in there and there[column.name].dataType.simpleString() != column.type.info.sql:
            was = there[column.name].dataType.simpleString()
            raise DefinitionError(
                f"source {feed.name!r}, field {column.name!r}: it is declared as {column.type}, and {table.full_name} has it "
                f"as {was}; give the field another name, with path='$.{column.name}', or declare it as {was} again"
            )
    for name in table.key if table is feed.silver else ():
        if name not in there or there[name].nullable:
            raise DefinitionError(
                f"source {feed.name!r}: rows of {table.full_name} are not known by {name!r}; a source keeps its id, so give "
                "the one with another id another name"
            )


def conform_columns(lake: Lake, table: Table) -> None:
    """Add the columns that are missing, and let those be null that need not be there any more."""
    there, declared = schema_there(lake, table), {column.name: column for column in table.fields}
    new = [f"`{column.name}` {column.type.info.sql}" for column in table.fields if column.name not in there.names]
    if new:
        lake.spark.sql(f"ALTER TABLE delta.`{lake.path(table)}` ADD COLUMNS ({', '.join(new)})")
    for column in there.fields:
        is_promised = column.name in declared and not declared[column.name].nullable
        if not column.nullable and not is_promised:
            lake.spark.sql(f"ALTER TABLE delta.`{lake.path(table)}` ALTER COLUMN `{column.name}` DROP NOT NULL")


def conform_checks(lake: Lake, table: Table) -> None:
    """Have a table check the rules that are declared now; one that its rows break holds for lines that land from now on."""
    before = lake.checks(table)
    for number in sorted(before):
        if number >= len(table.checks) or squeezed(before[number]) != squeezed(table.checks[number]):
            lake.spark.sql(f"ALTER TABLE delta.`{lake.path(table)}` DROP CONSTRAINT check_{number}")
    for number, check in enumerate(table.checks):
        try:
            lake.create(replace(table, checks=table.checks[: number + 1]))
        except AnalysisException as error:
            if error.getCondition() != BROKEN:
                raise
            lake.leave_unchecked(table, number)
            log.warning(
                "rows of %s break the new rule %s, which holds for lines that land from now on", table.full_name, check
            )


def squeezed(condition: str) -> str:
    """A condition without the blanks outside its texts, which Delta sets as it likes."""
    return "".join(TEXT_OR_SIGN.findall(condition))
