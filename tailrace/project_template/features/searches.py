"""Searches: where they land, the features of a query, and what a ranker asks for."""

from datetime import timedelta

from tailrace import (
    BOOL,
    FLOAT64,
    INT64,
    STRING,
    Count,
    Entity,
    EventSource,
    FeatureService,
    FeatureView,
    Field,
    Last,
    Sum,
    Time,
)

# A line of landing/searches/ is one result that was shown for a search.
searches = EventSource(
    name="searches",
    description="What was searched for, a product that was shown, and what became of it.",
    id="search_id",
    time=Time("ts", unit="ms"),
    fields=(
        Field("query", STRING, "what was searched for", path="$.request.q", required=True),
        Field("user_id", STRING, "who searched"),
        Field("product_id", INT64, "the product that was shown", required=True),
        Field("rank", INT64, "its place among the results", minimum=1),
        Field("clicked", BOOL, "whether it was clicked"),
        Field("dwell_seconds", FLOAT64, "how long it was looked at", minimum=0),
    ),
)

QUERY = Entity(name="query", key="query", description="What people search for.")

query_activity = FeatureView(
    name="query_activity",
    source=searches,
    entities=(QUERY,),
    owner="search-ranking",
    description="How often a query is searched for, and how long people look at what they find.",
    freshness=timedelta(hours=1),
    aggregations=(
        Count(name="searches", over=("1h", "24h", "7d", "total")),
        Sum(name="dwell_seconds", of="dwell_seconds", over=("24h", "7d")),
        Last(name="last_searched_at"),
    ),
)

search_ranker = FeatureService(
    name="search_ranker",
    features=("query_activity",),
    owner="search-ranking",
    description="What the ranker scores the results of a search with.",
)
