"""Maintain all tables: rewrite small files, remove what nobody needs any more, and say what holds the rest.

A version is needed while some state or cursor names it: silver's in the state of each gold view and of each derived
source, a base view's in that of the views that count its rows, and a view's own in the online store's cursor.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from sinks import history as published
from sinks.net_changes import pin_of
from sinks.purge import purge_tombstones
from tailrace.definitions import Definitions
from tailrace.lake.delta_log import CONFLICTS, Pin
from tailrace.lake.maintenance import (
    can_go_on_from,
    compact,
    drop_deletion_vectors,
    has_needless_deletion_vectors,
    vacuum,
)
from tailrace.lake.session import first_line
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, view_tables
from tailrace.schemas.tables import Table
from tailrace.store.address import Address, with_store
from tailrace.store.control import Control, known_schemas
from tailrace.store.failures import StoreError
from tailrace.store.port import Store

log = logging.getLogger(__name__)

# Versions from one vacuum of a table to the next: a day of refreshes.
VACUUM_EVERY = 96

# Tables of an older version from which one refresh takes deletion vectors: each costs seconds, once.
OPENED_AT_ONCE = 1

# None leaves a table worse: Delta commits a rewrite whole or not at all, and a vacuum goes on where another stopped.
FAILURES = (PySparkException, Py4JJavaError, StoreError, *CONFLICTS)


@dataclass(frozen=True, kw_only=True)
class Maintained:
    """One table: its data files before and after compaction, what a vacuum removed, who kept it from that, and why
    maintenance stopped; the last two are None where nothing did. `swept` are tombstones of the view whose history this
    is, removed from the store. `opened` says that deletion vectors were removed from a table that needs none, for other
    readers of Delta.
    """

    files_before: int = 0
    files_after: int = 0
    removed_files: int = 0
    removed_bytes: int = 0
    swept: int = 0
    opened: bool = False
    held_by: str | None = None
    failure: str | None = None

    @property
    def is_worth_telling(self) -> bool:
        return self != Maintained(files_before=self.files_after, files_after=self.files_after)


@dataclass(frozen=True)
class Need:
    """A version of a table, and who needs it."""

    pin: Pin
    by: str


Needs = Mapping[str, list[Need]]


def run(lake: Lake, definitions: Definitions, address: Address) -> dict[str, Maintained]:
    """Compact every table for which it is due and vacuum all; by full name."""
    tables = list(existing(lake, definitions))
    return maintain(lake, definitions, address, tables, wants_vacuum=lambda _: True, to_open=len(tables))


def run_due(
    lake: Lake, definitions: Definitions, address: Address, *, since: Mapping[str, int]
) -> dict[str, Maintained]:
    """Compact and vacuum what became due since the tables were at these versions; only what is worth telling.

    Where nothing is due this costs no Spark job, and the store is not asked.
    """

    def wants_vacuum(table: Table) -> bool:
        return is_vacuum_due(since.get(table.full_name, 0), lake.version(table))

    tables = [table for table in existing(lake, definitions) if lake.version(table) != since.get(table.full_name)]
    done = maintain(lake, definitions, address, tables, wants_vacuum=wants_vacuum, to_open=OPENED_AT_ONCE)
    return {name: one for name, one in done.items() if one.is_worth_telling}


def versions(lake: Lake, definitions: Definitions) -> dict[str, int]:
    """The newest version of every table that exists, by full name."""
    return {table.full_name: lake.version(table) for table in existing(lake, definitions)}


def existing(lake: Lake, definitions: Definitions) -> Iterator[Table]:
    views = (view.table for view in definitions.batch_views.values())
    histories = (view_tables.history_table(view) for view in definitions.views)
    feeds = (table for feed in definitions.feeds for table in (feed.table, feed.silver) if table)
    derived = (table for one in definitions.derived.values() for table in (one.silver_table, one.given_table) if table)
    followed = (one.feed.silver for one in definitions.table_feeds if one.feed.silver)
    others = (*followed, *derived, *bronze.TABLES, *views, *histories, view_tables.SCHEMAS, view_tables.RUNS)
    tables = dict.fromkeys((*feeds, *others))
    return (table for table in tables if lake.exists(table))


def maintain(
    lake: Lake,
    definitions: Definitions,
    address: Address,
    tables: list[Table],
    *,
    wants_vacuum: Callable[[Table], bool],
    to_open: int,
) -> dict[str, Maintained]:
    """Compact tables and vacuum those that want it; what goes wrong with one is reported, and the others go on.

    Up to `to_open` tables lose deletion vectors that they do not need.
    """
    done = {table: compacted(lake, table) for table in tables}
    closed = [table for table in tables if has_needless_deletion_vectors(lake, table)]
    done |= {table: opened(lake, table, done[table]) for table in closed[:to_open]}
    wanting = [table for table in tables if done[table].failure is None and wants_vacuum(table)]
    if wanting:
        try:
            needs = needs_of(lake, definitions, address)
        except FAILURES as error:
            done |= {table: replace(done[table], failure=first_line(error)) for table in wanting}
        else:
            done |= {table: vacuumed(lake, table, needs.get(table.full_name, []), done[table]) for table in wanting}
        done |= {
            table: purged(lake, definitions, address, table, done[table]) for table in wanting if is_history(table)
        }
    return {table.full_name: one for table, one in done.items()}


def is_history(table: Table) -> bool:
    return table.layer == view_tables.HISTORY and table != view_tables.SCHEMAS


def purged(lake: Lake, definitions: Definitions, address: Address, table: Table, done: Maintained) -> Maintained:
    """Remove the tombstones that a view's history has and that nothing needs any more."""
    try:
        count = purge_tombstones(lake, address, definitions.views[table.name])
    except FAILURES as error:
        return replace(done, failure=first_line(error))
    return replace(done, swept=count)


def compacted(lake: Lake, table: Table) -> Maintained:
    try:
        result = compact(lake, table)
    except FAILURES as error:
        return Maintained(failure=first_line(error))
    return Maintained(files_before=result.before.files, files_after=result.after.files)


def opened(lake: Lake, table: Table, done: Maintained) -> Maintained:
    """Take deletion vectors from a table that other readers of Delta could open without them."""
    try:
        drop_deletion_vectors(lake, table)
    except FAILURES as error:
        return replace(done, failure=done.failure or first_line(error))
    return replace(done, opened=True)


def vacuumed(lake: Lake, table: Table, needs: list[Need], done: Maintained) -> Maintained:
    table_id = lake.table_id(table)
    needed = [one for one in needs if one.pin.table_id == table_id and can_go_on_from(lake, table, one.pin.version)]
    oldest = min((one.pin.version for one in needed), default=None)
    try:
        result = vacuum(lake, table, oldest_needed=oldest)
    except FAILURES as error:
        return replace(done, failure=first_line(error))
    if result.blocked:
        names = ", ".join(one.by for one in needed if one.pin.version == oldest)
        return replace(done, held_by=f"version {oldest} is older than the retention and needed by {names}")
    return replace(done, removed_files=result.files, removed_bytes=result.bytes)


def is_vacuum_due(since: int, version: int) -> bool:
    """Whether a table passed a multiple of `VACUUM_EVERY`.

    So no record of the last vacuum has to be kept, and of several processes one does it. A refresh that is killed before
    its vacuum leaves it to the next multiple.
    """
    return since // VACUUM_EVERY < version // VACUUM_EVERY


def needs_of(lake: Lake, definitions: Definitions, address: Address) -> Needs:
    """Who needs which version, by the full name of the table."""
    needs: dict[str, list[Need]] = {}
    derived = (one.silver_table for one in definitions.derived.values())
    for table in (*derived, *(view.table for view in definitions.batch_views.values())):
        state = lake.state(table)
        for name, pin in state.inputs.items() if state else ():
            needs.setdefault(name, []).append(Need(pin, f"the state of {table.full_name}"))
    for name, control in controls_of(address, definitions.batch_views).items():
        if control.cursor:
            table, need = definitions.batch_views[name].table, Need(pin_of(control.cursor), "the online store's cursor")
            needs.setdefault(table.full_name, []).append(need)
    return needs


def schemas_lost(lake: Lake, definitions: Definitions, address: Address) -> dict[str, list[str]]:
    """Record the schemas of histories from before there was a record, and return those that nobody knows any more.

    Fingerprints by view: values of these schemas are in its history, and cannot be decoded. A history that cannot be read,
    and all of them while the store is away, which may still know schemas, wait for the next maintenance.
    """
    with suppress(*FAILURES):
        controls = controls_of(address, definitions.views)
        for name, view in definitions.views.items():
            known = known_schemas(controls[name]) if name in controls else ()
            try:
                published.account_for_older(lake, view, known=known)
            except FAILURES as error:
                log.warning("history.%s: its schemas are not recorded: %s", name, first_line(error))
    return published.lost_schemas(lake)


def controls_of(address: Address, views: Iterable[str]) -> dict[str, Control]:
    async def read(opened: Store) -> dict[str, Control]:
        await opened.ensure_ready()
        return await opened.read_controls(views)

    return with_store(address, read)
