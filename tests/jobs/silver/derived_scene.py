"""Searches, products and words derived from them, in tables of a test."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import INT64, STRING, DerivedSource, EventSource, Field, Lookup, TableSource, Time
from tailrace.lake.session import small_frame
from tailrace.lake.tables import Lake
from tailrace.schemas.tables import Table

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
DELIVERY: dict[str, Any] = {"delivered_at": T, "file": "f", "line": 1, "batch": 1}


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
    lake.create(table)
    [key] = table.key
    every = [(False, DELIVERY | row) for row in rows] + [(True, {key: id_}) for id_ in gone]
    values = [(is_gone, *(row.get(name) for name in table.columns)) for is_gone, row in every]
    new = small_frame(lake.spark, values, f"gone boolean, {table.ddl.replace(' NOT NULL', '')}")
    old = DeltaTable.forPath(lake.spark, lake.path(table)).alias("old")
    own: dict[str, str | Column] = {name: f"new.{name}" for name in table.columns}
    merge = old.merge(F.broadcast(new.alias("new")), f"old.{key} = new.{key}").whenMatchedDelete("new.gone")
    merge.whenMatchedUpdate(set=own).whenNotMatchedInsert("NOT new.gone", values=own).execute()


def rows_of(lake: Lake, source: DerivedSource, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of a derived table, sorted."""
    return sorted(map(tuple, lake.read(source.silver_table).select(*names).collect()), key=repr)
