"""Two views that need nothing of each other."""

from datetime import timedelta

from tailrace.definitions import Count, FeatureView
from tailrace.shipped.entities import ACTOR, DOCUMENT


def view(name, entity):
    return FeatureView(
        name=name,
        entities=(entity,),
        owner="tests",
        description="Counts.",
        freshness=timedelta(hours=1),
        aggregations=(Count(name="events", over=("total",)),),
    )


by_document, by_actor = view("by_document", DOCUMENT), view("by_actor", ACTOR)
