"""Health, readiness, the catalogue, and a store that is not there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tailrace.definitions import Feature, FeatureView, Type
from tailrace.shipped.entities import DOCUMENT
from tailrace.store import embedded, failures

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"
READY = {"ready": True, "store": "answers", "views": {}, "writes": "accepted", "stopping": False}
ASKED = {"features": ["document_activity"], "entities": {"document_id": ["d1"]}}


@pytest.fixture
def little_waiting(monkeypatch):
    """Attempts follow each other at once; how long they wait between them is tested with the client of the store."""
    monkeypatch.setattr(failures, "delay_after", lambda _: 0.01)
    monkeypatch.setattr("serving.read.store_reads.delay_after", lambda _: 0.01)


@pytest.fixture
def all_pushed(store, definitions):
    for view in definitions.views.values():
        store.push(view, watermark=NINE)


def test_ready_once_every_view_was_pushed_as_it_is_defined(all_pushed, reader, definitions):
    assert reader.get("/ready") == (200, READY | {"definitions": definitions.files})


def test_not_ready_while_a_view_was_never_pushed(store, reader, definitions):
    for name, view in definitions.views.items():
        if name != "actor_activity":
            store.push(view, watermark=NINE)

    status, answer = reader.get("/ready")

    assert (status, answer["ready"], list(answer["views"])) == (503, False, ["actor_activity"])
    assert "never pushed" in answer["views"]["actor_activity"]


def test_ready_without_values_of_a_view_that_nobody_wrote_to_yet(all_pushed, store, start_reader, definitions):
    written = (Feature("score", Type.FLOAT64, "from a model"),)
    direct = FeatureView(
        name="relevance",
        entities=(DOCUMENT,),
        owner="tests",
        description="",
        freshness=timedelta(hours=1),
        lane="direct",
        written_features=written,
    )
    reader = start_reader(
        replace(definitions, views=definitions.views | {"relevance": direct}), embedded.store_url(store.settings)
    )

    assert reader.get("/ready") == (200, READY | {"definitions": definitions.files})
    _, answer = reader.get("/features")
    assert answer["views"]["relevance"]["lane"] == "direct"


def test_not_ready_while_a_view_is_pushed_under_another_schema(all_pushed, store, reader, definitions):
    view = definitions.views["actor_activity"]
    store.push(view, watermark=NINE, features=(Feature("gone", Type.INT64, ""),))

    status, answer = reader.get("/ready")

    assert (status, list(answer["views"])) == (503, ["actor_activity"])
    assert view.fingerprint in answer["views"]["actor_activity"]


def test_a_reader_starts_without_its_store_and_says_so(little_waiting, start_reader, definitions):
    reader = start_reader(definitions, NOWHERE)

    status, answer = reader.get("/ready")

    assert reader.get("/health") == (200, {"status": "alive"})
    assert (status, set(answer["views"])) == (503, set(definitions.views))
    assert "online store" in answer["store"]


def test_no_answer_is_made_up_without_the_store(little_waiting, start_reader, definitions):
    reader = start_reader(definitions, NOWHERE)

    status, answer = reader.send("POST", "/get-online-features", json=ASKED)

    assert (status, list(answer)) == (503, ["detail"])
    assert "online store" in answer["detail"]


def test_no_answer_is_made_up_without_the_table(settings, start_reader, definitions):
    status, answer = start_reader(definitions).send("POST", "/get-online-features", json=ASKED)

    assert status == 503
    assert settings.store.table in answer["detail"] or "ResourceNotFound" in answer["detail"]


def test_a_store_that_comes_back_is_found_again(tmp_path, store_settings, start_reader, definitions):
    own = replace(store_settings, home=tmp_path)
    url = embedded.store_url(own)
    reader = start_reader(definitions, url)
    embedded.stop(own)
    down = reader.send("POST", "/get-online-features", json=ASKED)
    embedded.start(own)
    try:
        up = reader.send("POST", "/get-online-features", json=ASKED)
    finally:
        embedded.stop(own)

    assert down[0] == 503
    assert "did not answer" in down[1]["detail"] or "Unreachable" in down[1]["detail"]
    assert "ResourceNotFound" in up[1]["detail"]  # it answers: this store has no table yet


def test_the_catalogue_tells_what_can_be_asked_for(reader):
    status, answer = reader.get("/features")

    view = answer["views"]["document_activity"]
    assert status == 200
    assert view["keys"] == ["document_id"]
    assert view["entities"][0]["name"] == "document"
    assert {"name": "views_24h", "type": "bigint", "meaning": "view events, in 24h"} in view["features"]
    assert (view["lane"], view["owner"], view["freshness_seconds"]) == ("batch", "search-ranking", 1800)
    assert view["max_age_seconds"] is None
    assert (view["online_when"], view["description"][:5]) == ("not is_deleted", "Views")
    assert answer["on_demand"]["edit_trend"]["inputs"] == ["document_activity:edits_24h", "document_activity:edits_7d"]
    assert "document_profile" in answer["services"]["ranker"]["features"]
