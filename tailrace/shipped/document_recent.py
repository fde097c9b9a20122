"""What is going on around a document right now."""

from datetime import timedelta

from tailrace.definitions import STREAM, Count, Distinct, FeatureView
from tailrace.shipped.entities import DOCUMENT

document_recent = FeatureView(
    name="document_recent",
    entities=(DOCUMENT,),
    owner="search-ranking",
    description="Events of a document and those who took part, in the last quarter of an hour.",
    freshness=timedelta(seconds=10),
    lane=STREAM,
    aggregations=(
        Count(name="recent_events", over=("15m",)),
        Distinct(name="recent_distinct_actors", rows_of="actor_document_recent", active="events", over=("15m",)),
    ),
)
