"""How active a person is, and how widely."""

from datetime import timedelta

from tailrace.definitions import Count, Distinct, FeatureView, Last
from tailrace.shipped.entities import ACTOR

actor_activity = FeatureView(
    name="actor_activity",
    entities=(ACTOR,),
    owner="search-ranking",
    description="Events of an actor and the documents they touch.",
    freshness=timedelta(minutes=30),
    aggregations=(
        Count(name="events", over=("24h", "7d", "30d")),
        Distinct(name="distinct_documents", rows_of="actor_document_affinity", active="events", over=("7d", "30d")),
        Last(name="last_event_at"),
    ),
)
