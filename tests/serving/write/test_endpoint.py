"""`POST /v1/write`: what is written can be read, what does not fit is told per entity."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
import pytest

from serving.client import AsyncClient, Client, ReaderError
from tests.serving.conftest import direct_log
from tests.serving.write.conftest import NINE, VALUES, of, removal

TEN, EIGHT = "2026-03-01T10:00:00Z", "2026-03-01T08:00:00.000001Z"


def test_what_is_written_is_read_at_once_with_every_type(writes):
    status, answer = writes.send(of("d1"), of("d2", score=None, votes=None, is_safe=None, judged_at=None))

    assert (status, [one["status"] for one in answer["results"]]) == (200, ["WRITTEN", "WRITTEN"])
    for name, value in VALUES.items():
        first, second = writes.read("d1", "d2", feature=f"relevance:{name}")
        assert first == value
        assert second == (value if name == "model" else None)


def test_the_event_time_is_what_a_value_is_told_to_be_of(writes):
    writes.send(of("d1"))

    [(_, _, at)] = writes.http.cells("relevance:score", entities={"document_id": ["d1"]}, times=True)
    assert at == NINE


def test_a_composite_key_is_written_by_the_names_of_its_columns(writes):
    entity = {"keys": {"document_id": "d1", "actor_id": 7}, "values": {"score": 1}}

    assert writes.results(entity, view="taste") == ["WRITTEN"]
    asked = {"document_id": ["d1"], "actor_id": ["7"]}
    assert writes.http.values("taste:score", entities=asked) == [(1.0, "PRESENT")]


def test_a_stale_write_is_answered_409_with_the_time_that_is_stored(writes):
    writes.send(of("d1", TEN, score=0.75))
    status, answer = writes.send(of("d1", NINE, score=0.25))

    assert status == 409
    assert answer["results"] == [{"status": "STALE", "occurred_at": NINE, "stored_at": TEN}]
    assert writes.read("d1") == [0.75]


def test_of_equal_times_the_later_write_corrects_the_earlier(writes):
    writes.send(of("d1", score=0.25))
    status, _ = writes.send(of("d1", score=0.75))

    assert (status, writes.read("d1")) == (200, [0.75])


def test_entities_fare_each_by_itself(writes):
    writes.send(of("d1", TEN))
    status, answer = writes.send(of("d1", NINE), of("d2"), of("d3", score=2))

    assert status == 207
    assert [one["status"] for one in answer["results"]] == ["STALE", "WRITTEN", "INVALID"]
    assert writes.read("d2", "d3") == [0.5, None]


def test_a_key_that_comes_several_times_ends_with_its_latest_value(writes):
    told = writes.results(
        of("d1", NINE, score=0.1), of("d1", TEN, score=0.2), of("d1", EIGHT, score=0.3), of("d1", TEN, score=0.4)
    )

    assert told == ["WRITTEN", "WRITTEN", "STALE", "WRITTEN"]
    assert writes.read("d1") == [0.4]


def test_a_removed_key_is_gone_and_an_older_value_does_not_bring_it_back(writes):
    writes.send(of("d1"))

    assert writes.results(removal("d1", TEN)) == ["WRITTEN"]
    assert writes.read("d1") == [None]
    assert writes.results(of("d1", NINE)) == ["STALE"]
    assert writes.read("d1") == [None]
    assert writes.results(of("d1", "2026-03-01T11:00:00Z")) == ["WRITTEN"]
    assert writes.read("d1") == [0.5]


def test_the_time_of_the_whole_write_stands_for_entities_without_one(writes):
    _, answer = writes.send(of("d1", None), of("d2", TEN), occurred_at=NINE)

    assert [one["occurred_at"] for one in answer["results"]] == [NINE, TEN]


def test_the_readers_clock_stands_for_a_time_that_nobody_gives(writes):
    before = datetime.now(UTC)
    _, answer = writes.send(of("d1", None))

    assert before <= datetime.fromisoformat(answer["results"][0]["occurred_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("entity", "told"),
    [
        (7, "entity 0: is a number; it is an object"),
        (of("d1") | {"why": "x"}, "entity 0: field 'why' is not known"),
        (of("d1") | {"keys": {"actor_id": "a1"}}, "names one id for each of document_id, and nothing else"),
        (of("d1") | {"keys": {"document_id": 1.5}}, "key 'document_id' is not text or a whole number"),
        (of("d1") | {"keys": {"document_id": True}}, "key 'document_id' is not text or a whole number"),
        (of("d1\n"), "key 'document_id' has a control character"),
        (of(""), "key 'document_id' is empty"),
        (of("ü" * 501), "key 'document_id' is longer than 1000 bytes"),
        (of("d1", score=1.01), "feature 'score' is 1.01; it is at most 1"),
        (of("d1", score=-0.1), "feature 'score' is -0.1; it is at least 0"),
        (of("d1", score="high"), "feature 'score' is 'high'; it is a number"),
        (of("d1", score=10**18 * 10), "feature 'score' is 10000000000000000000; it is at most 1"),
        (of("d1", votes=1.0), "feature 'votes' is 1.0; it is a whole number"),
        (of("d1", votes=2**63), "it is a whole number"),
        (of("d1", votes=True), "feature 'votes' is True; it is a whole number"),
        (of("d1", is_safe=1), "feature 'is_safe' is 1; it is true or false"),
        (of("d1", model=None), "feature 'model' is null; it needs a value"),
        (of("d1", model="too long!"), "feature 'model' has 9 bytes of UTF-8; it may have 8"),
        (of("d1", judged_at="yesterday"), "feature 'judged_at' is 'yesterday'; it is a time such as"),
        (of("d1", judged_at="2026-03-01T08:00:00"), "it is a time such as"),
        (of("d1", points=1), "'points' is not a feature of the view; there are is_safe, judged_at, model, score, votes"),
        (of("d1") | {"values": {"score": 0.5}}, "feature 'model' is missing"),
        (of("d1") | {"values": None}, "give either 'values' or \"removed\": true"),
        (of("d1") | {"removed": True}, "give either 'values' or \"removed\": true"),
        (of("d1") | {"removed": "yes"}, "field 'removed' is a string"),
        (of("d1", "soon"), "field 'occurred_at': the time is 'soon'; it is a time"),
        (of("d1", 1772355600), "field 'occurred_at' is a number; it is a time"),
        (of("d1", "1969-12-31T23:59:59Z"), "the time is before 1970"),
        (of("d1", "9999-01-01T00:00:00Z"), "is over 5 minutes ahead of the clock here"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_the_field_and_nothing_of_it_is_written(writes, entity, told):
    status, answer = writes.send(entity)

    assert (status, answer["results"][0]["status"]) == (400, "INVALID")
    assert told in answer["results"][0]["detail"]
    assert answer["detail"] == answer["results"][0]["detail"]
    assert writes.log == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"view": "nothing", "entities": [{}]}, "there is no view 'nothing'"),
        ({"view": "document_activity", "entities": [{}]}, "is of the lane batch, and no other lane writes it"),
        ({"view": None, "entities": [{}]}, "field 'view' is null; it is the name of a view"),
        ({"view": "relevance"}, "field 'entities' is null; it is a list"),
        ({"view": "relevance", "entities": []}, "field 'entities' is empty"),
        ({"view": "relevance", "entities": [{}] * 1_001}, "send at most 1000 at once"),
        ({"view": "relevance", "entities": [{}], "lane": "direct"}, "field 'lane' is not known"),
        ({"view": "relevance", "entities": [{}], "occurred_at": "9999-01-01T00:00:00Z"}, "ahead of the clock here"),
        ([], "the body is a list, not an object"),
    ],
)
def test_a_body_that_is_no_write_is_refused_whole(writes, body, told):
    status, answer = writes.http.send("POST", "/v1/write", json=body)

    assert (status, list(answer)) == (400, ["detail"])
    assert told in answer["detail"]


@pytest.mark.parametrize(
    "text", ['{"view": "relevance", "view": "x", "entities": [{}]}', '{"view": NaN}', "{", "[" * 5_000]
)
def test_a_body_that_is_no_strict_json_is_refused(writes, text):
    status, answer = writes.http.send("POST", "/v1/write", data=text)

    assert (status, list(answer)) == (400, ["detail"])


def test_a_time_a_little_ahead_is_the_clocks_to_forgive(writes):
    ahead = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()

    assert writes.results(of("d1", ahead)) == ["WRITTEN"]


def test_a_page_of_another_site_writes_nothing(writes):
    status, answer = writes.send(of("d1"), headers={"Origin": "http://elsewhere.example"})

    assert (status, "Origin" in answer["detail"], writes.read("d1")) == (400, True, [None])
    own = str(writes.http.client.make_url("")).rstrip("/")
    assert writes.send(of("d1"), headers={"Origin": own})[0] == 200


def test_a_time_at_the_edge_of_the_calendar_is_told_of_its_own_entity(writes):
    edge = of("d1", judged_at="9999-12-31T23:59:59-01:00")

    assert writes.results(edge, of("d2")) == ["INVALID", "WRITTEN"]


def test_what_became_of_values_is_counted(writes):
    writes.send(of("d1", TEN))
    writes.send(of("d1", NINE), of("d2"), of("d3", score=2))

    async def metrics():
        async with writes.http.client.get("/metrics") as answer:
            return (await answer.text()).splitlines()

    counted = [
        line for line in writes.http.runner.run(metrics()) if line.startswith("tailrace_reader_written_values_total{")
    ]
    assert {line.partition("{")[2] for line in counted} == {
        'status="INVALID",view="relevance"} 1.0',
        'status="STALE",view="relevance"} 1.0',
        'status="WRITTEN",view="relevance"} 2.0',
    }


def test_answers_and_bodies_are_as_described(writes):
    _, description = writes.http.get("/openapi.json")
    operation = description["paths"]["/v1/write"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["schema"]
    for entity in (of("d1"), removal("d1"), of("d1", None, score=None)):
        jsonschema_rs.validate(asked, {"view": "relevance", "entities": [entity]})
    for entity in (
        of("d1", score=2),
        of("d1", model=None),
        of("d1") | {"removed": True},
        {"keys": {"document_id": "d1"}},
    ):
        assert not jsonschema_rs.is_valid(asked, {"view": "relevance", "entities": [entity]})
    writes.send(of("d9", TEN))

    for entities in ([of("d1")], [of("d9")], [of("d1", score=2)], [of("d1"), of("d9")]):
        status, answer = writes.send(*entities)
        jsonschema_rs.validate(operation["responses"][str(status)]["content"]["application/json"]["schema"], answer)


def test_the_clients_write_as_well(writes):
    entities: Any = [of("d1"), of("d2", score=2)]
    url = str(writes.http.client.make_url(""))

    async def ask():
        async with AsyncClient(url) as client:
            own = await client.write("relevance", entities, idempotency_key="k")
            threaded = await asyncio.to_thread(Client(url).write, "relevance", entities, idempotency_key="k")
            with pytest.raises(ReaderError, match="there is no view 'nothing'"):
                await client.write("nothing", entities)
            return own, threaded

    own, threaded = writes.http.runner.run(ask())

    assert [one["status"] for one in own] == ["WRITTEN", "INVALID"]
    assert threaded[0] == own[0]


def test_a_log_that_cannot_be_written_shows_in_ready_until_a_write_succeeds(writes):
    folder = direct_log(writes.settings).folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_bytes(b"a file where the folder should be")
    refused = writes.send(of("logless"))[0], writes.http.get("/ready")[1]["writes"]
    folder.unlink()
    accepted = writes.send(of("logless"))[0], writes.http.get("/ready")[1]["writes"]

    assert refused[0] == 503
    assert "log of direct writes" in refused[1]
    assert accepted == (200, "accepted")
