"""How close a person is to a document."""

from datetime import timedelta

from tailrace.definitions import Count, FeatureView, Last
from tailrace.shipped.entities import ACTOR, DOCUMENT

actor_document_affinity = FeatureView(
    name="actor_document_affinity",
    entities=(ACTOR, DOCUMENT),
    owner="search-ranking",
    description="What one actor did to one document; online while it happened within 30 days.",
    freshness=timedelta(minutes=30),
    aggregations=(
        Count(name="events", over=("24h", "7d", "30d", "total")),
        Count(name="edits", types=("create", "edit"), over=("30d",)),
        Last(name="last_event_at"),
    ),
    online_when="events_30d > 0",
)
