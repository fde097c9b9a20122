"""History: what each push was about to write to the online store, and which came to their end; what backfills computed;
and the schemas that all these values were packed under.
"""

from tailrace.schemas.tables import Column, Table, Type

LAYER = "history"

# What the row that closes a push, or one time of a backfill, says of it.
CONFIRMED = "confirmed"

# What stands for the push in rows of direct writes: each is confirmed by itself, and its sequence is its revision.
DIRECT_WRITE = "direct"

# The sequence of rows that no push has written.
NO_PUSH = 0

SCHEMAS = Table(
    layer=LAYER,
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


def history_table(view: str) -> Table:
    """The history of one view: rows of values, and one row without a key for each push whose writes were acknowledged.

    Rows of a push that has no such row may or may not have reached the store. A backfill's rows were never in the store:
    they are the values that it would have had, each time's committed together with the row that closes it. A backfill is complete by
    itself: what it says of a key at a time is in its newest row up to then. Direct writes are no pushes: each row is in the
    store, and confirmed by itself.
    """
    return Table(
        layer=LAYER,
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
