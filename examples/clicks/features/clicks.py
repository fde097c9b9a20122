"""Clicks on products: sources, features by query, by product, by both and by word, and what a ranker asks for."""

from datetime import timedelta
from typing import Any

from tailrace import (
    BOOL,
    DATE,
    FLOAT64,
    INT64,
    STRING,
    TIMESTAMP,
    Count,
    DerivedSource,
    Distinct,
    Entity,
    EventSource,
    FeatureService,
    FeatureView,
    Field,
    First,
    Last,
    Lookup,
    Sum,
    TableSource,
    Time,
)

OWNER = "search-ranking"

# A line of landing/searches/ is one result that was shown for a search.
searches = EventSource(
    name="searches",
    description="A product that was shown for a query, and what became of it.",
    id="search_id",
    time=Time("ts", unit="ms"),
    fields=(
        Field("query", STRING, "what was searched for", path="$.request.q", required=True),
        Field("user_id", STRING, "who searched", path="$.request['user id']"),
        Field("product_id", INT64, "the product that was shown", required=True),
        Field("rank", INT64, "its place among the results", minimum=1),
        Field("clicked", BOOL, "whether it was clicked"),
        Field("dwell_seconds", FLOAT64, "how long it was looked at", minimum=0),
    ),
)

# A line of landing/products/ is a product as it is from then on.
products = TableSource(
    name="products",
    description="What is sold.",
    key="product_id",
    fields=(
        Field("product_id", INT64, "the product"),
        Field("title", STRING, "what it is called"),
        Field("category", STRING, "what kind of thing it is"),
        Field("price", FLOAT64, "what it costs", minimum=0),
        Field("released", DATE, "since when it is sold"),
        Field("updated_at", TIMESTAMP, "when these facts became true"),
    ),
)


def words_of(rows: Any) -> Any:
    """A row for each word of a query, with the category of the product that was shown."""
    from pyspark.sql import functions as F

    return rows.select("search_id", "ts", "clicked", "category", F.explode(F.split("query", " ")).alias("word"))


words = DerivedSource(
    name="words",
    description="A word of a query, and the category of a product that it showed.",
    of=searches,
    transform=words_of,
    fields=(
        Field("word", STRING, "the word", required=True),
        Field("category", STRING, "that of the product as it is now"),
        Field("clicked", BOOL, "whether the product was clicked"),
    ),
    lookups=(Lookup(products, on="product_id", fields=("category",)),),
)

QUERY = Entity(name="query", key="query", description="What people search for.")
PRODUCT = Entity(name="product", key="product_id", description="What is sold.", type=INT64)

query_product = FeatureView(
    name="query_product",
    source=searches,
    where="rank <= 10",
    entities=(QUERY, PRODUCT),
    owner=OWNER,
    description="What became of a product among the first results of a query.",
    freshness=timedelta(hours=1),
    aggregations=(
        Count(name="shown", over=("24h", "7d")),
        Sum(name="dwell_seconds", of="dwell_seconds", over=("24h", "7d")),
        First(name="first_shown_at"),
        Last(name="last_shown_at"),
    ),
)

query_activity = FeatureView(
    name="query_activity",
    source=searches,
    entities=(QUERY,),
    owner=OWNER,
    description="How often a query is searched for, and how many products it shows.",
    freshness=timedelta(hours=1),
    aggregations=(
        Count(name="results", over=("1h", "24h", "7d", "total")),
        Distinct(name="products", rows_of="query_product", active="shown", over=("24h", "7d")),
    ),
)

product_clicks = FeatureView(
    name="product_clicks",
    source=searches,
    where="clicked",
    entities=(PRODUCT,),
    owner=OWNER,
    description="How often a product is clicked.",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="clicks", over=("1h", "24h", "7d")), Last(name="last_clicked_at")),
    online_when="clicks_7d > 0",
)

WORD = Entity(name="word", key="word", description="A word of a query.")
CATEGORY = Entity(name="category", key="category", description="A kind of product.")

word_category = FeatureView(
    name="word_category",
    source=words,
    where="clicked and category is not null",
    entities=(WORD, CATEGORY),
    owner=OWNER,
    description="Which kinds of products are clicked by those who search for a word.",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="clicks", over=("24h", "7d", "total")),),
)

query_recent = FeatureView(
    name="query_recent",
    source=searches,
    entities=(QUERY,),
    owner=OWNER,
    description="How often a query shows products right now.",
    freshness=timedelta(seconds=10),
    aggregations=(Count(name="results", over=("15m", "1h")),),
    lane="stream",
)

product_recent = FeatureView(
    name="product_recent",
    source=searches,
    entities=(PRODUCT,),
    owner=OWNER,
    description="How often a product is shown right now.",
    freshness=timedelta(seconds=10),
    aggregations=(Count(name="shown", over=("15m", "1h")), Last(name="last_shown_at")),
    lane="stream",
)

click_ranker = FeatureService(
    name="click_ranker",
    features=("query_product", "query_activity", "product_clicks", "word_category"),
    owner=OWNER,
    description="What the ranker scores the products of a search with.",
)

trend_ranker = FeatureService(
    name="trend_ranker",
    features=("query_recent", "product_recent"),
    owner=OWNER,
    description="What is searched for and shown within seconds, while `tailrace stream run` runs.",
)
