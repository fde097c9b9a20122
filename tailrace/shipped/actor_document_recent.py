"""What a person did with a document in the last minutes."""

from datetime import timedelta

from tailrace.definitions import STREAM, Count, FeatureView, Last
from tailrace.shipped.entities import ACTOR, DOCUMENT

actor_document_recent = FeatureView(
    name="actor_document_recent",
    entities=(ACTOR, DOCUMENT),
    owner="search-ranking",
    description="When an actor last opened a document, and how often of late.",
    freshness=timedelta(seconds=10),
    lane=STREAM,
    aggregations=(
        Last(name="last_opened_at", types=("open",)),
        Count(name="opens", types=("open",), over=("15m", "1h")),
    ),
)
