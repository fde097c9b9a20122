"""How much happens to a document, and how lately."""

from datetime import timedelta
from typing import Any

from tailrace.definitions import Count, Distinct, FeatureView, First, Last, NewestIs, Type, on_demand
from tailrace.shipped.entities import DOCUMENT

WINDOWS = ("15m", "1h", "24h", "7d", "30d", "total")
EDITS = ("create", "edit")

document_activity = FeatureView(
    name="document_activity",
    entities=(DOCUMENT,),
    owner="search-ranking",
    description="Views, edits and visitors of a document over several windows.",
    freshness=timedelta(minutes=30),
    aggregations=(
        Count(name="events", over=WINDOWS),
        Count(name="views", types=("view",), over=WINDOWS),
        Count(name="edits", types=EDITS, over=WINDOWS),
        Distinct(name="distinct_actors", rows_of="actor_document_affinity", active="events", over=("24h", "7d", "30d")),
        First(name="first_event_at"),
        Last(name="last_event_at"),
        Last(name="last_edit_at", types=EDITS),
        NewestIs(name="is_deleted", type="delete"),
    ),
    online_when="not is_deleted",
)


@on_demand(
    type=Type.FLOAT64,
    inputs=("document_activity:last_edit_at",),
    owner="search-ranking",
    description="Hours since the document was last created or edited; null without an edit.",
)
def hours_since_last_edit(last_edit_at: Any, now: Any) -> Any:
    return (now - last_edit_at).astype("int64") / 3.6e9


@on_demand(
    type=Type.FLOAT64,
    inputs=("document_activity:edits_24h", "document_activity:edits_7d"),
    owner="search-ranking",
    description="Edits of the last day over the daily mean of the last week; null where the week had none.",
)
def edit_trend(edits_24h: Any, edits_7d: Any) -> Any:
    return edits_24h / (edits_7d / 7)  # 0 / 0, the only division by zero here, is NaN and so null
