"""Requests that are refused, each with what is wrong and what would be right."""

import asyncio

import pytest

ON: tuple[object, ...] = (5, 0, True, "", [], {})  # of a field that is not known
VALID = {"features": ["document_activity:views_24h"], "entities": {"document_id": ["d1"]}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"features": ["nowhere:views_24h"]}, ["'nowhere:views_24h'", "document_activity"]),
        ({"features": ["document_activity:nothing"]}, ["document_activity", "'nothing'", "views_24h"]),
        ({"features": ["document_activity:"]}, ["document_activity", "''", "views_24h"]),
        ({"features": ["views_24h"]}, ["'views_24h'", "document_activity", "edit_trend"]),
        ({"features": []}, ["'features'", "view:feature"]),
        ({"features": "document_activity"}, ["'features'", "a string", "list"]),
        ({"features": [1]}, ["'features'", "a number", "list"]),
        ({"features": [["document_activity"]]}, ["'features'", "a list", "view:feature"]),
        ({"features": None}, ["'features'", "'feature_service'"]),
        ({"feature_service": "ranker"}, ["'features'", "'feature_service'", "not both"]),
        ({"features": [], "feature_service": "ranker"}, ["'features'", "'feature_service'", "not both"]),
        ({"features": None, "feature_service": "nobody"}, ["'nobody'", "ranker"]),
        ({"features": None, "feature_service": 5}, ["'feature_service'", "a number"]),
        ({"full_feature_names": "yes"}, ["'full_feature_names'", "true or false"]),
        ({"full_feature_names": None}, ["'full_feature_names'", "true or false"]),
        *(({"limit": value}, ["'limit'", "full_feature_names"]) for value in ON),
        ({"entities": None}, ["'entities'", "null"]),
        ({"entities": {}}, ["'entities'", "empty"]),
        ({"entities": ["d1"]}, ["'entities'", "a list"]),
        ({"entities": {"document_id": 1.5}}, ["'document_id'", "a number", "whole number"]),
        ({"entities": {"document": ["d1"]}}, ["'document'", "write 'document_id'"]),
        ({"entities": {"planet": ["d1"], "document_id": ["d1"]}}, ["'planet'", "actor_id, document_id"]),
        ({"entities": {"actor_id": ["a1"]}}, ["'document_activity'", "document_id"]),
        ({"features": ["edit_trend"], "entities": {"actor_id": ["a1"]}}, ["'document_activity'", "document_id"]),
        ({"entities": {"document_id": ["d1"], "actor_id": ["a1", "a2"]}}, ["1 of document_id", "2 of actor_id"]),
        ({"entities": {"document_id": ["d"] * 5001}}, ["5001", "5000"]),
        ({"entities": {"document_id": ["d" * 2100]}}, ["document", "2048"]),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(reader, override, words):
    detail = reader.refusal(**VALID | override)

    assert [word for word in words if word not in detail] == [], detail


@pytest.mark.parametrize("off", [False, None])
@pytest.mark.usefixtures("store")
def test_switches_of_feasts_protocol_that_are_off_are_taken(reader, off):
    answer = reader.ask(**VALID | {"include_feature_view_version_metadata": off, "of_a_later_version": off})

    assert answer == reader.ask(**VALID)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (True, "a boolean"),
        (None, "null"),
        (1.5, "a number"),
        (2**64, "a number"),
        ({}, "an object"),
        (["d1"], "a list"),
    ],
)
def test_ids_are_strings_or_integers(reader, wrong, name):
    detail = reader.refusal(**VALID | {"entities": {"document_id": ["d1", wrong]}})

    assert "'document_id', id 1" in detail
    assert name in detail


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"features": [NaN]}', b"\xff", b'"\\ud800"', b"[" * 5000, b"null", b"[]", b'"text"', b"7"]
)
def test_a_body_that_is_no_json_object_is_refused(reader, body):
    status, answer = reader.send("POST", "/get-online-features", data=body)

    assert (status, list(answer)) == (400, ["detail"])
    assert "the body is" in answer["detail"]


def test_a_body_over_one_mebibyte_is_refused(reader):
    status, answer = reader.send("POST", "/get-online-features", data=b" " * (2**20 + 1))

    assert (status, list(answer)) == (413, ["detail"])


def test_a_body_that_only_claims_to_be_compressed_is_refused(reader):
    headers = {"Content-Encoding": "gzip"}

    status, answer = reader.send("POST", "/get-online-features", data=b"{}", headers=headers)

    assert (status, list(answer)) == (400, ["detail"])


def test_a_body_that_does_not_arrive_is_not_waited_for(reader, monkeypatch):
    monkeypatch.setattr("serving.http.admission.BODY_SECONDS", 0.1)

    async def never_ending():
        yield b"{"
        await asyncio.sleep(5)

    status, answer = reader.send("POST", "/get-online-features", data=never_ending())

    assert (status, list(answer)) == (408, ["detail"])


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/get-online-features", 405)])
def test_unknown_paths_and_methods_are_told_as_json(reader, method, path, status):
    assert reader.send(method, path)[0] == status


@pytest.mark.usefixtures("store")
def test_the_most_keys_allowed_are_answered(start_reader, definitions):
    reader = start_reader(definitions, budget_ms=60_000)
    keys = {"document_id": [f"d{i}" for i in range(5000)]}

    assert set(reader.values("document_activity:views_24h", entities=keys)) == {(None, "NOT_FOUND")}
