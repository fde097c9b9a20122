"""Silver of a source that reads a table of others: the table's rows at the version that was read, brought forward by what
changed there.

Silver's commit carries the version, the id of the table, and the way by which the changes were found. A run that is killed
before it leaves silver as it was, and the next one begins at the same version.
"""

import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.bronze.lines import check_rules
from jobs.bronze.table_rows import RAW, REASON, check_columns, top_columns, validated
from jobs.silver.derive import EXISTS, change_to, check_exclusive, joinable
from tailrace.errors import DataError, TailraceError
from tailrace.lake import commit
from tailrace.lake.delta_log import HistoryLost, Pin, State
from tailrace.lake.foreign_table import NET, Changes, ForeignTable, TableUnreadable
from tailrace.lake.session import ROWS, Materialized, materialized
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze
from tailrace.schemas.landing import TableFeed
from tailrace.schemas.tables import Table

UNCHANGED = "unchanged"
COMPARISON = "comparison"
TABLE = "table"  # in silver's state: the version of the table that it has
READING = "reading"  # and how that was read
NAMED = 3  # ids that a message names
CAME, WENT = "_came", "_went"


class RepeatedIds(DataError):
    """Rows of a table have the same id, and nothing says which of them counts; the message names table and ids."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """One source after its table was read: by which way, and why not by a better one, from which version to which; the rows
    that came and went, those of silver, how many of them now differ from before, those quarantined, and the seconds.
    """

    way: str
    why: str | None
    table: str
    from_version: int | None
    to_version: int
    came: int
    went: int
    rows: int
    changed: int
    quarantined: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Found:
    """How a table was read, and why not by a better way; rows that came and went by then, and rows that broke a rule."""

    way: str
    why: str | None = None
    came: int = 0
    went: int = 0
    quarantined: int = 0


def bring(lake: Lake, source: TableFeed, *, now: datetime) -> Followed:
    """Bring silver to the newest version of the table; where it has that, no Spark job runs.

    Raises `TableUnreadable`, `RepeatedIds`, `GateFailed` and `Overtaken`; silver then stays as it was.
    """
    began = time.monotonic()
    check_rules(lake.spark, source.feed)
    step = step_of(lake, source, now=now)
    if step.is_current:
        found, after = Found(way=UNCHANGED), step.before
    else:
        found = step.write()
        after = check_exclusive(lake, step.table, run_id=step.run_id)
    return report(step, found, after, seconds=time.monotonic() - began)


def step_of(lake: Lake, source: TableFeed, *, now: datetime) -> "Step":
    """What is to be done for a source, from silver and the table as they are; raises `TableUnreadable`."""
    table = silver_of(source)
    followed = ForeignTable.open(lake.spark, source.path)
    check_columns(followed.schema, source)
    lake.create(table)
    start = lake.pin(table)
    before = lake.state(table, version=start.version)
    if before is not None and TABLE not in before.values:
        raise TableUnreadable(
            f"source {source.feed.name!r}: {table.full_name} has rows that landed, which are not in the table at {source.path}; give "
            "the source another name, or silver='…'"
        )
    return Step(lake, source, followed, table, start, before, now)


def has_newest(lake: Lake, sources: Iterable[TableFeed], *, now: datetime) -> bool:
    """Whether silver has the newest version of every table; not where one cannot be read, which silver says by name."""
    try:
        return all(step_of(lake, one, now=now).is_current for one in sources)
    except TailraceError:
        return False


def silver_of(source: TableFeed) -> Table:
    """The silver table of a source."""
    if source.feed.silver is None:
        raise DataError(f"source {source.feed.name!r} has no silver table")
    return source.feed.silver


def report(step: "Step", found: Found, after: State | None, *, seconds: float) -> Followed:
    """What became of a source."""
    before, has_read = step.read_before, found.way != UNCHANGED
    return Followed(
        **(counted(asdict(found), after) if after else asdict(found)),
        table=step.source.path,
        from_version=before.version if before else None,
        to_version=step.followed.pin.version,
        rows=after.rows if after else 0,
        changed=after.changed if after and has_read else 0,
        seconds=seconds,
    )


def counted(reading: dict[str, Any], after: State) -> dict[str, Any]:
    """A reading, with the rows that came and went for a comparison, which has them when it is committed."""
    if reading["way"] != COMPARISON:
        return reading
    return reading | {"came": after.inserted + after.updated, "went": after.deleted + after.updated}


def last_readings(lake: Lake, sources: Iterable[TableFeed]) -> dict[str, dict[str, Any]]:
    """How the version was found that silver has of each table, by source; without those that were never read."""
    found = {}
    for one in sources:
        state = lake.state(silver_of(one))
        if state is not None and READING in state.values:
            version = state.values[TABLE]["version"]
            read = {"table": one.path, "to_version": version, **counted(state.values[READING], state)}
            found[one.feed.name] = read | {"changed": state.changed}
    return found


@dataclass(frozen=True)
class Step:
    """One run of one source, from silver as it was at `start` to the newest version of the table."""

    lake: Lake
    source: TableFeed
    followed: ForeignTable
    table: Table
    start: Pin
    before: State | None
    now: datetime

    @cached_property
    def run_id(self) -> str:
        return uuid.uuid4().hex

    @property
    def read_before(self) -> Pin | None:
        """The version of the table that silver has."""
        return Pin(**self.before.values[TABLE]) if self.before else None

    @cached_property
    def why_compare(self) -> str | None:
        """What rules out to go on from silver's rows."""
        before = self.before
        if before is None:
            return "nothing was read before"
        if before.values.get("definition") != self.source.fingerprint:
            return "the definition changed"
        if not before.exclusive:
            return "the last run was overtaken by another"
        if self.lake.rows_written(self.table, after=before.version, up_to=self.start.version):
            return "something else than a refresh wrote to silver"
        return None

    @property
    def is_current(self) -> bool:
        """Whether silver has just this version, by this definition."""
        return self.why_compare is None and self.read_before == self.followed.pin

    def write(self) -> Found:
        """Commit silver, by the best way that there is to find what changed."""
        self.followed.check_files_are_its_own()
        why, since = self.why_compare, self.read_before
        if why is None and since is not None:
            columns = [one.name for one in top_columns(self.followed.schema, self.source).values()]
            try:
                return self.bring_forward(self.followed.changes(since=since, columns=columns))
            except HistoryLost as error:
                why = str(error)
        return self.compare(Found(way=COMPARISON, why=why))

    def validated(self, rows: DataFrame) -> DataFrame:
        """Rows of the table by the rules of the source."""
        return validated(rows, self.source, now=self.now)

    def bring_forward(self, changes: Changes) -> Found:
        """Change the rows of silver that differ from those of the table; raises `HistoryLost` where that cannot be known."""
        found, net = Found(way=changes.way, why=changes.why), changes.net(self.validated)
        if net is None:
            return self.keep(found)
        self.lake.expect_rows()
        is_good, is_new, size = F.isnull(REASON), F.col(NET) > 0, F.abs(NET)
        totals = {"came": F.when(is_good & is_new, size), "went": F.when(is_good & ~is_new, size)}
        with materialized(net, totals=totals, new=is_new, bad=is_new & ~is_good) as rows:
            found = replace(found, came=rows.counts["came"], went=rows.counts["went"])
            if self.source.feed.row_id and found.went:
                raise HistoryLost("rows without ids went, and others that say the same may be there still")
            with materialized(self.by_key(rows.frame)) as due:
                self.check_changed(due)
                new = Materialized(rows.frame.where(is_new), rows.counts | {ROWS: rows.counts["new"]})
                found = self.quarantine(new, found)
                if not due.counts[ROWS]:
                    return self.keep(found)
                changed = joinable(due).drop(CAME, WENT)
                commit.change(self.lake, self.table, change_to(changed, self.table), state=self.state(found))
        return found

    def compare(self, found: Found) -> Found:
        """Make silver what the whole table is, touching only rows that differ."""
        self.lake.expect_rows()
        with materialized(self.validated(self.followed.rows()), bad=F.isnotnull(REASON)) as rows:
            good = rows.frame.where(F.isnull(REASON)).select(*self.table.columns)
            if self.source.feed.row_id:
                good = good.dropDuplicates([*self.table.key])
            else:
                self.refuse(good.groupBy(*self.table.key).count().where("count > 1"))
            found = self.quarantine(rows, found)
            commit.become(self.lake, self.table, good, state=self.state(found))
        return found

    def keep(self, found: Found) -> Found:
        """Commit that this version was read, and leave the rows."""
        commit.keep(self.lake, self.table, state=self.state(found))
        return found

    def state(self, found: Found) -> dict[str, Any]:
        """What silver's commit says of this run."""
        before = self.read_before
        state = {
            TABLE: asdict(self.followed.pin),
            "definition": self.source.fingerprint,
            "run": self.run_id,
            "started_from": self.start.version,
            READING: asdict(found) | {"from_version": before.version if before else None, "at": self.now.isoformat()},
        }
        goes_on = self.before is not None and found.way != COMPARISON
        return state | ({"rows_before": self.before.rows} if goes_on and self.before else {})

    def by_key(self, net: DataFrame) -> DataFrame:
        """One row for each key of good rows: as it is in the table now, `EXISTS` null where it went; with how many came and went."""
        key, is_new = self.table.key, F.col(NET) > 0
        others = [name for name in self.table.columns if name not in key]
        row = F.struct(F.lit(True).alias(EXISTS), *others)
        keyed = net.where(F.isnull(REASON)).groupBy(*key)
        folded = keyed.agg(
            F.max(F.when(is_new, row)).alias("row"),
            F.sum(F.when(is_new, F.col(NET)).otherwise(0)).alias(CAME),
            F.sum(F.when(is_new, 0).otherwise(-F.col(NET))).alias(WENT),
        )
        return folded.select(*key, "row.*", CAME, WENT)

    def check_changed(self, due: Materialized) -> None:
        """Raise `RepeatedIds` where a key has several rows in the table now: several came, or one next to that of before."""
        if self.source.feed.row_id:
            return
        key = [*self.table.key]
        several = due.frame.where(f"{CAME} > 1").select(*key)
        new = Materialized(due.frame.where(f"{CAME} = 1 AND {WENT} = 0").select(*key), due.counts)
        there = self.lake.read(self.table, version=self.start.version).select(*key)
        self.refuse(several.unionByName(there.join(joinable(new), on=key, how="left_semi")))

    def refuse(self, repeated: DataFrame) -> None:
        """Raise `RepeatedIds` where there is a key among these."""
        key = self.table.key
        found = repeated.select(*key).orderBy(*key).limit(NAMED + 1).collect()
        if found:
            named = "; ".join(", ".join(f"{name} {row[name]}" for name in key) for row in found[:NAMED])
            raise RepeatedIds(
                f"source {self.source.feed.name!r}: the table at {self.source.path} has several rows of {named}"
                f"{' and of others' if len(found) > NAMED else ''}; each id is to have one. Nothing of version "
                f"{self.followed.pin.version} was read: remove the others there, or name more columns in the source's id"
            )

    def quarantine(self, rows: Materialized, found: Found) -> Found:
        """Put rows that break a rule into quarantine, counted as `bad`, with the version; those that are there already stay."""
        if not rows.counts["bad"]:
            return found
        feed, path = self.source.feed, F.lit(self.source.path)
        numbered = rows.frame.select(path.alias("file"), (F.monotonically_increasing_id() + 1).alias("line"), REASON)
        self.lake.audit(feed.lines, Materialized(numbered, rows.counts))
        bad = rows.frame.where(F.isnotnull(REASON)).select(
            F.lit(feed.name).alias("feed"),
            path.alias("file"),
            F.lit(None).cast("bigint").alias("line"),
            REASON,
            RAW,
            F.lit(self.followed.pin.version).cast("bigint").alias("batch"),
            F.lit(self.now).alias("ingested_at"),
        )
        if self.lake.exists(bronze.QUARANTINE):
            known = self.lake.read(bronze.QUARANTINE).where(F.col("feed") == feed.name).select(REASON, RAW)
            bad = bad.join(known, on=[REASON, RAW], how="left_anti")
        with materialized(bad.distinct()) as new:
            if new.counts[ROWS]:
                self.lake.append(bronze.QUARANTINE, new.frame)
            return replace(found, quarantined=new.counts[ROWS])
