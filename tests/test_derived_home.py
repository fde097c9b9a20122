"""A home whose definitions derive a source: from files that land to the store, and back where a file is excluded."""

import json
import os
import textwrap
from pathlib import Path

import pytest

from jobs.blocked import SourcesBlocked
from jobs.maintenance import versions
from tailrace.workspace.workspace import Workspace
from tests.tailrace.lake.copies import home_with

DEFINITIONS = """
from datetime import timedelta

from tailrace import (
    INT64, STRING, Count, DerivedSource, Entity, EventSource, FeatureView, Field, Lookup, TableSource, Time,
)

searches = EventSource(
    name="searches", id="search_id", time=Time("ts", unit="ms"),
    fields=(Field("query", STRING), Field("product_id", INT64)),
)
products = TableSource(
    name="products", key="product_id", fields=(Field("product_id", INT64), Field("category", STRING))
)


def words_of(rows):
    from pyspark.sql import functions as F

    return rows.select("search_id", "ts", "category", F.explode(F.split("query", " ")).alias("word"))


words = DerivedSource(
    name="words", of=searches, transform=words_of, fields=(Field("word", STRING), Field("category", STRING)),
    lookups=(Lookup(products, on="product_id", fields=("category",)),),
)
word_counts = FeatureView(
    name="word_counts", entities=(Entity("word", "word", "a word of queries"),), owner="search", source=words,
    description="How often a word is asked for.", freshness=timedelta(hours=1), where="category <> 'hidden'",
    aggregations=(Count(name="asked", over=("24h", "total")),),
)

clicks = EventSource(name="clicks", id="click_id", time=Time("ts", unit="ms"), fields=(Field("page", STRING),))
page_clicks = FeatureView(
    name="page_clicks", entities=(Entity("page", "page", "a page"),), owner="search", source=clicks,
    description="How often a page is clicked.", freshness=timedelta(hours=1),
    aggregations=(Count(name="clicks", over=("total",)),),
)
"""
AT = 1_773_140_000_000  # 2026-03-10T10:53:20Z
AS_OF, LATER = "2026-03-10T11:00:00Z", "2026-03-10T11:15:00Z"
LAYERS_LATER = {"bronze": None, "silver": None, "gold": LATER, "publish": None}


def land(landing: Path, feed: str, name: str, *lines: dict[str, object]) -> None:
    folder = landing / feed
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(folder / name, (AT // 1000 + len(name), AT // 1000 + len(name)))


def search(number: str, query: str, *, product: int) -> dict[str, object]:
    return {"search_id": number, "ts": AT, "query": query, "product_id": product}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_derived_events_reach_the_store_follow_look_ups_and_go_with_the_file_that_brought_them(
    make_settings, empty_tables, tmp_path
):
    features = tmp_path / "features"
    features.mkdir()
    (features / "searching.py").write_text(textwrap.dedent(DEFINITIONS))
    settings = home_with(empty_tables, make_settings(TAILRACE_FEATURES=str(features)))
    workspace = Workspace(settings=settings)
    landing = Path(settings.landing)
    toys, tools = {"product_id": 1, "category": "toys"}, {"product_id": 2, "category": "tools"}
    land(landing, "products", "p.jsonl", toys, tools)
    land(landing, "searches", "a.jsonl", search("a", "red red car", product=1), search("b", "blue", product=2))
    land(landing, "searches", "bad.jsonl", search("c", "red", product=1), search("d", "blue", product=2))

    first = workspace.refresh(as_of=AS_OF)
    assert {name: (one.parents, one.rows) for name, one in first.derived.items()} == {"silver.words": (4, 6)}
    assert workspace.get("word_counts", "red") == {"asked_24h": 3, "asked_total": 3}
    assert workspace.get("word_counts", "blue") == {"asked_24h": 2, "asked_total": 2}

    land(landing, "products", "hidden.jsonl", {"product_id": 1, "category": "hidden"})
    second = workspace.refresh(as_of=AS_OF, set_aside=["searches/bad.jsonl"], because="a test")
    assert second.derived["silver.words"].how == "incremental"
    assert second.json()["derived"]["silver.words"]["changed"] == 5  # two go, three are in another category
    assert second.refreshed["word_counts"].how == "incremental"
    assert workspace.get("word_counts", "blue") == {"asked_24h": 1, "asked_total": 1}
    assert workspace.get("word_counts", "red") is None
    assert workspace.verify()["differing"] == 0
    assert workspace.run_layer("silver")["derived"]["silver.words"]["how"] == "unchanged"
    assert "silver.words" in versions(workspace.lake, workspace.definitions)  # which is what maintenance goes through

    # Most lines of one file are broken: what looks its products up waits, and clicks come in.
    broken = landing / "products" / "broken.jsonl"
    broken.write_text(json.dumps({"product_id": 1, "category": "toys"}) + "\n" + "{\n" * 150)
    land(landing, "products", "later.jsonl", {"product_id": 2, "category": "food"})
    land(landing, "searches", "e.jsonl", search("e", "car", product=2))
    land(landing, "clicks", "a.jsonl", {"click_id": "a", "ts": AT, "page": "home"})
    with pytest.raises(SourcesBlocked, match=r"products.*products/broken\.jsonl"):
        workspace.refresh(as_of=LATER)
    assert workspace.get("page_clicks", "home") == {"clicks_total": 1}
    assert workspace.get("word_counts", "car") is None
    states = {name: workspace.lake.state(view.table) for name, view in workspace.definitions.batch_views.items()}
    as_of = {name: state.values["as_of"] for name, state in states.items() if state}
    assert as_of == {"page_clicks": LATER, "word_counts": AS_OF}
    layers = [workspace.run_layer(layer, as_of=as_of) for layer, as_of in LAYERS_LATER.items()]
    assert [one.get("blocked", {}).keys() for one in layers] == [{"products"}, set(), set(), set()]
    assert [one.get("views_waiting") for one in layers[2:]] == [{"word_counts": ["products"]}] * 2
    assert not layers[0]["all_read"]

    fourth = workspace.refresh(as_of=LATER, set_aside=["products/broken.jsonl"], because="a test")
    assert {name: fourth.landed.rows[name] for name in ("products", "searches")} == {"products": 1, "searches": 0}
    assert workspace.get("word_counts", "car") == {"asked_24h": 1, "asked_total": 1}
    assert "blocked" not in workspace.refresh(as_of=LATER).json()
    assert workspace.verify()["differing"] == 0
