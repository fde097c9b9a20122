"""Tables that views have: gold, the history of values, and the ledger of pushes.

Gold has a table for each view, one row per entity key. The history has what each push was about to write to the online
store, and which pushes came to their end; what backfills computed; and the schemas that all these values were packed under.
"""

from collections.abc import Iterable

from tailrace.schemas.expectations import Expectation
from tailrace.schemas.tables import Column, Table, Type

HISTORY = "history"

# What the row that closes a push, or one time of a backfill, says of it.
CONFIRMED = "confirmed"

# What stands for the push in rows of direct writes: each is confirmed by itself, and its sequence is its revision.
DIRECT_WRITE = "direct"

# The sequence of rows that no push has written.
NO_PUSH = 0

SCHEMAS = Table(
    layer=HISTORY,
    name="schemas",
    fields=(
        Column("view", Type.STRING, "the view", nullable=False),
        Column("schema", Type.STRING, "the schema's fingerprint, as packed values have it", nullable=False),
        Column("features", Type.STRING, "names and types in order, as JSON; null where nobody knows them any more"),
        Column("definition", Type.STRING, "fingerprint of the definition that computed the values; null if not known"),
        Column("backfill", Type.STRING, "the backfill that the values are of; null where they were pushed or written"),
        Column("first_sequence", Type.INT64, "the first sequence or revision of values of it"),
        Column(
            "recorded_at", Type.TIMESTAMP, "when the row was made, before the first of these values", nullable=False
        ),
    ),
    key=("view", "schema", "recorded_at"),
)
RUNS = Table(
    layer="ledger",
    name="runs",
    fields=(
        Column("run", Type.STRING, "the run; all its views have it in common", nullable=False),
        Column("started_at", Type.TIMESTAMP, "when the run began", nullable=False),
        Column("view", Type.STRING, "the view", nullable=False),
        Column("how", Type.STRING, "changes, first load, snapshot, nothing new or repair; null where the push failed"),
        Column("why", Type.STRING, "what made a snapshot necessary"),
        Column("failure", Type.STRING, "why the push stopped; null where it did not"),
        Column("allowed", Type.STRING, "the reason that was given to let a large change through"),
        Column("as_of", Type.TIMESTAMP, "the time that the store's values hold for after the push"),
        Column("sequence", Type.INT64, "the sequence that its writes carry"),
        Column("change_rows", Type.INT64, "rows of gold's change feed, or rows compared in a snapshot"),
        Column("net", Type.INT64, "keys that these came to: pushed + removed + suppressed + stale"),
        Column("pushed", Type.INT64, "values written"),
        Column("removed", Type.INT64, "values removed"),
        Column("suppressed", Type.INT64, "keys whose value in the store was equal"),
        Column("stale", Type.INT64, "writes refused because the store had a newer value"),
        Column("bytes", Type.INT64, "bytes of the values written"),
        Column("requests", Type.INT64, "requests that carried the writes, those made again included"),
        Column("bytes_sent", Type.INT64, "bytes of these requests"),
        Column("seconds", Type.FLOAT64, "time of the push"),
        Column(
            "confirmed_at", Type.TIMESTAMP, "when the store had all of it, cursor and watermark; null where it failed"
        ),
        Column("write_seconds", Type.FLOAT64, "of it, from the first write to the last"),
    ),
    key=("run", "view"),
    statistics=("started_at",),
)


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


def history_table(view: str) -> Table:
    """The history of one view: rows of values, and one row without a key for each push whose writes were acknowledged.

    Rows of a push that has no such row may or may not have reached the store. A backfill's rows were never in the store:
    they are the values that it would have had, each time's committed together with the row that closes it. A backfill is complete by
    itself: what it says of a key at a time is in its newest row up to then. Direct writes are no pushes: each row is in the
    store, and confirmed by itself.
    """
    return Table(
        layer=HISTORY,
        name=view,
        fields=(
            Column("sequence", Type.INT64, "the push, by the sequence that its writes carry", nullable=False),
            Column("item_key", Type.STRING, "the item in the store; null in the row that closes a push"),
            Column("value", Type.BINARY, "the packed features; null where the value was removed"),
            Column("as_of", Type.TIMESTAMP, "the time that the features hold for", nullable=False),
            Column("recorded_at", Type.TIMESTAMP, "when the row was made", nullable=False),
            Column("outcome", Type.STRING, "confirmed in the row that closes a push; null in the others"),
            Column("backfill", Type.STRING, "the backfill that computed the row; null where a push recorded it"),
            Column("push", Type.STRING, "the push by itself: a store put back from a copy gives sequences once more"),
            Column("acknowledged_at", Type.TIMESTAMP, "when the store had a direct write; null for pushes"),
        ),
        key=("sequence", "backfill", "as_of", "item_key"),
        statistics=("sequence",),
    )
