"""How active a person is, and how widely."""

from datetime import timedelta

from features.entities import ACTOR
from features.language import Count, Distinct, FeatureView, Last

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
