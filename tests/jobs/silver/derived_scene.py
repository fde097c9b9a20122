"""Searches, products and words derived from them, in tables of a test."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import INT64, STRING, DerivedSource, EventSource, Field, Lookup, TableSource, Time
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table
from tests.jobs.silver import deliveries

T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
SEARCHES = EventSource(
    name="searches",
    id="search_id",
    time=Time("ts"),
    fields=(Field("query", STRING), Field("user_id", STRING), Field("product_id", INT64)),
)
PRODUCTS = TableSource(
    name="products", key="id", fields=(Field("id", INT64), Field("category", STRING), Field("shop", STRING))
)


def words_of(rows: DataFrame) -> DataFrame:
    """A row for each word of a query."""
    return rows.select("search_id", "ts", "user_id", "category", F.explode(F.split("query", " ")).alias("word"))


def words(**declared: Any) -> DerivedSource:
    """The derived source, with another declaration where one is given."""
    usual: dict[str, Any] = {
        "name": "words",
        "of": SEARCHES,
        "transform": words_of,
        "fields": (Field("user_id", STRING), Field("category", STRING), Field("word", STRING)),
        "lookups": (Lookup(PRODUCTS, on="product_id", fields=("category",)),),
    }
    return DerivedSource(**usual | declared)


def search(id_: str, query: str | None, *, product: int | None = 1, **other: Any) -> dict[str, Any]:
    """A row of silver.searches."""
    return {"search_id": id_, "ts": T, "query": query, "user_id": "u", "product_id": product} | other


def product(id_: int, category: str | None, *, shop: str = "s") -> dict[str, Any]:
    """A row of silver.products."""
    return {"id": id_, "category": category, "shop": shop}


def deliver(lake: Lake, table: Table, *rows: dict[str, Any], gone: Iterable[Any] = ()) -> None:
    """Write rows of silver in one commit, and remove those of some keys."""
    deliveries.deliver(lake, table, rows, gone=[(id_,) for id_ in gone])


def rows_of(lake: Lake, source: DerivedSource, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of a derived table, sorted."""
    return sorted(map(tuple, lake.read(source.silver_table).select(*names).collect()), key=repr)
