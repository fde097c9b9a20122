"""History: what each push was about to write to the online store, and which pushes came to their end."""

from contracts.tables import Column, Table, Type

LAYER = "history"

# What the row that closes a push says of it.
CONFIRMED = "confirmed"


def table(view: str) -> Table:
    """The history of one view: rows of values, and one row without a key for each push whose writes were acknowledged.

    Rows of a push that has no such row may or may not have reached the store.
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
        ),
        key=("sequence", "item_key"),
        statistics=("sequence",),
    )
