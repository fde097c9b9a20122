"""Vectors, lists and days from a transform and from direct writes to the ranker, and a vector that does not fit."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import Client, EntityWrite
from tailrace.demo.ranking import reader
from tailrace.errors import DataError
from tailrace.schemas.slots import GRID
from tailrace.workspace.workspace import Workspace

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
AGREED = {"missing": 0, "ghost": 0, "different": 0}
DEFINITIONS = """
from datetime import timedelta
from pyspark.sql import functions as F
from tailrace import (
    DATE, FLOAT32, FLOAT64, INT64, STRING, Entity, Feature, FeatureService, FeatureView, Field, List, TableSource, Vector, on_demand
)

products = TableSource(name="products", key="product_id", fields=(Field("product_id", INT64), Field("text", STRING)))
PRODUCT = Entity("product", "product_id", "a product", type=INT64)
QUERY = Entity("query", "query", "what is looked for")
about = {"owner": "ada", "description": "Tested.", "freshness": timedelta(hours=1)}

def described(products):
    words = F.filter(F.split("text", " "), lambda word: word != "")
    numbers = F.transform(words, lambda word: F.length(word).cast("float"))
    return products.select(
        "product_id",
        F.when(F.size(words) > 0, numbers).alias("embedding"),
        words.alias("words"),
        F.get(words, 0).try_cast("date").alias("since"),
        F.length("text").cast("float").alias("length"),
    )

profile = FeatureView(
    name="profile", entities=(PRODUCT,), transform=described, transform_features=(
        Feature("embedding", Vector(2), "of its text"), Feature("words", List(STRING, at_most=2), "its words"),
        Feature("since", DATE, "its first word"), Feature("length", FLOAT32, "of its text"),
    ), **about,
)
asked = FeatureView(
    name="asked", entities=(QUERY,), lane="direct", written_features=(
        Feature("vector", Vector(2), "of the query"), Feature("prices", List(FLOAT64, at_most=3), "asked for"),
    ), **about,
)

@on_demand(type=FLOAT64, inputs=("asked:vector", "profile:embedding"), owner="ada", description="how near they are")
def nearness(one, other):
    return (one.astype(float) * other).sum(axis=1)

ranker = FeatureService(name="ranker", features=("profile", "asked", "nearness"), owner="ada", description="Products.")
"""
ROWS = {1: "2026-01-31 lamp", 2: "red lamp", 3: None, 4: ""}


def land(home: Workspace, name: str, rows: dict[int, str | None]) -> None:
    folder = Path(home.settings.landing) / "products"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"product_id": key, "text": text}) + "\n" for key, text in rows.items()]
    (folder / f"{name}.jsonl").write_text("".join(lines))


def check_answers(client: Client) -> None:
    keys: dict[str, Any] = {"product_id": [1, 2, 3, 4, 5], "query": "lamp"}
    written: list[EntityWrite] = [
        {"keys": {"query": "lamp"}, "values": {"vector": [0.5, 2], "prices": []}},
        {"keys": {"query": "bulb"}, "values": {"vector": [1], "prices": []}},
    ]
    assert [one["status"] for one in client.write("asked", written)] == ["WRITTEN", "INVALID"]

    json_answer = client.columns(service="ranker", entities=keys)
    arrow = client.features(service="ranker", entities=keys)

    embeddings = [[10.0, 4.0], [3.0, 4.0], None, None, None]
    assert json_answer.values("embedding") == arrow.table["embedding"].to_pylist() == embeddings
    assert json_answer.values("words") == [["2026-01-31", "lamp"], ["red", "lamp"], None, [], None]
    assert json_answer.values("since") == ["2026-01-31", None, None, None, None]
    assert json_answer.values("prices") == [[]] * 5
    assert json_answer.values("nearness") == [13.0, 9.5, None, None, None]
    assert arrow.numpy("embedding", missing=0).tolist() == [row or [0, 0] for row in embeddings]
    assert arrow.numpy("vector").dtype == np.float32


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("patient_readers", "spark")
def test_vectors_lists_and_days_go_the_whole_way(make_settings, tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "shop.py").write_text(DEFINITIONS)
    monkeypatch.setenv("TAILRACE_FEATURES", str(tmp_path / "shop"))
    home = Workspace(settings=make_settings(TAILRACE_FEATURES=str(tmp_path / "shop")))
    land(home, "first", ROWS)
    assert home.refresh(as_of=T0).pushed["profile"].pushed == 4
    with reader(home.settings) as address, Client(address) as client:
        check_answers(client)
    assert home.get("profile", 1) == home.get("profile", 1, source="gold")

    land(home, "second", {2: "red lamp", 3: "a chair"})
    assert home.refresh(as_of=T0 + GRID).pushed["profile"].pushed == 1

    land(home, "third", {1: "too many words"})
    with pytest.raises(DataError, match=r"size\(`embedding`\) = 2"):
        home.refresh(as_of=T0 + 2 * GRID)
    assert (home.get("profile", 1) or {})["words"] == ["2026-01-31", "lamp"]
    compared = home.reconcile()
    assert {name: compared[name] for name in AGREED} == AGREED
