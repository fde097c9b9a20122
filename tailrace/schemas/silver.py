"""Silver: one row per thing that happened and per document, the last delivery of each."""

from tailrace.schemas import bronze, landing
from tailrace.schemas.tables import Column, Table

LAST_DELIVERY = tuple(field for field in bronze.DELIVERY if field.name in bronze.DELIVERY_ORDER)


def facts(table: Table) -> tuple[Column, ...]:
    """The columns of a bronze table that say something of the world rather than of its delivery."""
    return tuple(field for field in table.fields if field not in bronze.DELIVERY)


INTERACTIONS = Table(
    layer="silver",
    name="interactions",
    fields=(*facts(bronze.EVENTS), *LAST_DELIVERY),
    key=("event_id",),
    checks=(f"event_type rlike '^{landing.EVENT_TYPE}$'",),
    statistics=("occurred_at",),
    change_feed=True,
    rows_change=True,
)

DOCUMENTS = Table(
    layer="silver",
    name="documents",
    fields=(*facts(bronze.DOCUMENTS), *LAST_DELIVERY),
    key=("document_id",),
    checks=("size_bytes is null or size_bytes >= 0",),
    statistics=("updated_at",),
    change_feed=True,
    rows_change=True,
)

TABLES = (INTERACTIONS, DOCUMENTS)
