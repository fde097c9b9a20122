"""The same answer in each of the forms that a request can ask for."""

import asyncio
import zlib
from datetime import UTC, datetime

import orjson
import pyarrow as pa
import pytest
import zstandard

from serving.client import AsyncClient, Client, ReaderError
from serving.common.interface import ARROW, COMPACT, FEAST
from serving.http.responses import NotAcceptable, encoding_of, form_of
from tailrace.shipped.actor_activity import actor_activity
from tailrace.shipped.actor_document_affinity import actor_document_affinity
from tailrace.shipped.document_activity import document_activity
from tailrace.shipped.document_profile import document_profile

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
TEN = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
ENTITIES = {"document_id": ["d1", "unknown", "empty", "gone", "d1"], "actor_id": "a1"}


@pytest.fixture
def ranked(store, reader):
    """A reader over rows of which some are whole, some empty, removed or never written."""
    store.put(document_activity, {"document_id": "d1"}, {"events_24h": 24, "is_deleted": True}, as_of=NINE)
    store.put(document_profile, {"document_id": "d1"}, {"type": "pdf", "owner": "ümlaut 🦊"}, as_of=TEN)
    store.put(document_activity, {"document_id": "empty"}, {}, as_of=TEN)
    store.put_raw(document_activity, {"document_id": "gone"}, b"")
    store.put(actor_activity, {"actor_id": "a1"}, {"events_7d": 7}, as_of=NINE)
    store.put(actor_document_affinity, {"actor_id": "a1", "document_id": "d1"}, {"events_7d": 3}, as_of=NINE)
    store.push(document_activity, watermark=TEN)
    reader.get("/ready")  # reads the control items again
    return reader


def body(**more):
    return {"feature_service": "ranker", "entities": ENTITIES} | more


def columns(answer):
    """Values, statuses and times by feature, from Feast's JSON."""
    names, results = answer["metadata"]["feature_names"], answer["results"]
    told = {name: list(one.values()) for name, one in zip(names, results, strict=True)}
    return {name: one for name, one in told.items() if name not in ENTITIES}


def exchange(reader, asked, **headers):
    async def go():
        async with reader.client.post("/get-online-features", json=asked, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    return reader.runner.run(go())


def with_client(reader, ask):
    """Run a function of a client that blocks, beside the loop of the reader."""

    def go():
        with Client(str(reader.client.make_url("/"))) as client:
            return ask(client)

    return reader.runner.run(asyncio.to_thread(go))


def test_one_id_for_all_rows_is_as_good_as_repeating_it_also_beside_composite_keys(ranked):
    repeated = ENTITIES | {"actor_id": ["a1"] * 5}

    shared = ranked.ask(**body())

    assert columns(shared) == columns(ranked.ask(**body(entities=repeated)))
    assert shared["results"][1]["values"] == ["a1"] * 5
    assert columns(shared)["distinct_documents_7d"][1] == ["NULL_VALUE"] * 5
    name = "actor_document_affinity__events_7d"
    assert columns(shared)[name][0] == [3, None, None, None, 3]


def test_ids_that_are_all_shared_are_one_row(ranked):
    answer = ranked.ask(features=["document_activity:events_24h"], entities={"document_id": "d1"})

    assert [one["values"] for one in answer["results"]] == [["d1"], [24]]


@pytest.mark.parametrize("times", [False, True])
def test_compact_json_has_the_values_statuses_and_times_of_feasts(ranked, times):
    expected = columns(ranked.ask(**body()))

    status, headers, raw = exchange(ranked, body(times=times), Accept=COMPACT)
    answer = orjson.loads(raw)

    assert (status, headers["Content-Type"], answer["rows"]) == (200, COMPACT, 5)
    assert answer["views"]["document_activity"]["watermark"] == "2026-03-01T10:00:00Z"
    assert list(answer["features"]) == list(expected)
    for name, (values, statuses, moments) in expected.items():
        told = answer["features"][name]
        assert told["values"] == values
        assert whole(told.get("statuses", {})) == statuses
        # Feast's form tells of 1970 where there is no value.
        found = [
            moment if status in {"PRESENT", "NULL_VALUE"} else None
            for moment, status in zip(moments, statuses, strict=True)
        ]
        assert told.get("times") == (found if times else None)


def whole(absences):
    rows = ["PRESENT"] * 5
    for status, places in absences.items():
        for place in places:
            rows[place] = status
    return rows


def test_a_client_answers_plain_lists_as_feasts_json_has_them(ranked):
    expected = columns(ranked.ask(**body()))

    answer = with_client(ranked, lambda client: client.columns(service="ranker", entities=ENTITIES, times=True))

    assert (answer.rows, answer.names) == (5, list(expected))
    for name, (values, statuses, moments) in expected.items():
        assert answer.values(name) == values
        assert answer.statuses(name) == statuses
        assert {moment for moment in answer.times(name) if moment} <= set(moments)
    assert answer.views["document_activity"]["watermark"] == "2026-03-01T10:00:00Z"


def test_columns_without_a_gap_tell_no_statuses(ranked):
    asked = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a1"]}}

    _, _, raw = exchange(ranked, asked, Accept=COMPACT)
    assert orjson.loads(raw)["features"] == {"events_7d": {"values": [7]}}

    _, _, raw = exchange(ranked, asked, Accept=ARROW)
    assert pa.ipc.open_stream(raw).read_all().column_names == ["events_7d"]


def test_arrow_has_the_values_statuses_and_times_of_feasts(ranked):
    expected = columns(ranked.ask(**body()))

    answer = with_client(ranked, lambda client: client.features(service="ranker", entities=ENTITIES, times=True))

    assert answer.views["document_activity"]["watermark"] == "2026-03-01T10:00:00Z"
    assert answer.table.column_names == list(expected)
    for name, (values, statuses, moments) in expected.items():
        assert [in_json(value) for value in answer.table[name].to_pylist()] == values
        assert answer.statuses(name).tolist() == statuses
        times = [None if time is None else in_json(time) for time in answer.times(name).tolist()]
        assert times == [None if moment.startswith("1970") else moment for moment in moments]


def in_json(value):
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value


def test_numpy_wants_to_know_what_stands_for_a_missing_value(ranked):
    def ask(client):
        return client.features(["document_activity", "actor_activity:events_7d"], entities=ENTITIES)

    answer = with_client(ranked, ask)

    assert (
        answer.numpy("events_7d" if "events_7d" in answer.table.column_names else "actor_activity__events_7d").tolist()
        == [7] * 5
    )
    assert answer.numpy("actor_activity__events_7d").tolist() == [7] * 5
    assert answer.numpy("events_24h", missing=-1).tolist() == [24, -1, -1, -1, 24]
    with pytest.raises(ValueError, match=r"'events_24h' has no value in rows \[1, 2, 3\].*missing=…"):
        answer.numpy("events_24h")


def test_pandas_keeps_integers_beside_nulls(ranked):
    answer = with_client(ranked, lambda client: client.features(["document_activity:events_24h"], entities=ENTITIES))

    frame = answer.pandas()

    assert str(frame["events_24h"].dtype) == "int64[pyarrow]"
    assert frame["events_24h"].dropna().tolist() == [24, 24]


def test_the_client_of_an_event_loop_answers_the_same(ranked):
    async def ask():
        async with AsyncClient(str(ranked.client.make_url(""))) as client:
            return await client.features(service="ranker", entities=ENTITIES)

    answer = ranked.runner.run(ask())

    assert answer.table.equals(
        with_client(ranked, lambda client: client.features(service="ranker", entities=ENTITIES)).table
    )


def test_a_refusal_reaches_the_caller_with_status_and_reason(ranked):
    with pytest.raises(ReaderError, match="400: field 'features': 'nothing' is neither") as refusal:
        with_client(ranked, lambda client: client.features(["nothing"], entities=ENTITIES))
    assert (refusal.value.status, refusal.value.retry_after) == (400, None)

    async def ask():
        async with AsyncClient(str(ranked.client.make_url("/"))) as client:
            await client.features(["document_activity"], entities={"document_id": []}, budget_ms=-1)

    with pytest.raises(ReaderError, match="Tailrace-Budget-Ms: '-1' is not a budget"):
        ranked.runner.run(ask())


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", FEAST),
        ("*/*", FEAST),
        ("application/*", FEAST),
        ("text/html, */*;q=0.1", FEAST),
        (ARROW, ARROW),
        (ARROW.upper(), ARROW),
        (f"{FEAST};q=0.5, {COMPACT}", COMPACT),
        (f"{COMPACT}; q=0.2 , {ARROW};q=0.3", ARROW),
        (f"{FEAST};q=0, */*", COMPACT),
        (f"{ARROW};q=2, {COMPACT};q=0.1", COMPACT),
    ],
)
def test_a_form_is_chosen_by_what_is_accepted(accept, form):
    assert form_of(accept) == form


@pytest.mark.parametrize("accept", ["text/html", "application/xml, text/*;q=0.9", "*/*;q=0", f"{FEAST};q=none"])
def test_a_form_there_is_not_is_refused_naming_those_there_are(ranked, accept):
    with pytest.raises(NotAcceptable, match=ARROW):
        form_of(accept)

    status, _, raw = exchange(ranked, body(), Accept=accept)

    assert (status, list(orjson.loads(raw))) == (406, ["detail"])


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("", "identity"), ("identity", "identity"), ("*", "identity"), ("br", "identity"), ("gzip;q=0", "identity"),
     ("gzip", "gzip"), ("gzip, deflate, zstd", "zstd"), ("gzip, zstd;q=0.5", "gzip")],
)  # fmt: skip
def test_an_answer_is_packed_only_where_that_is_asked_for(accepted, encoding):
    assert encoding_of(accepted) == encoding


@pytest.mark.parametrize(
    ("encoding", "unpack"),
    [
        ("gzip", lambda raw: zlib.decompress(raw, wbits=31)),
        ("zstd", lambda raw: zstandard.ZstdDecompressor().decompress(raw)),
    ],
)
@pytest.mark.parametrize("rows", [50, 1_500])  # the second is too much for the event loop
def test_a_packed_answer_is_the_same(ranked, encoding, unpack, rows):
    asked = {"feature_service": "ranker", "entities": {"document_id": ["d1"] * rows, "actor_id": "a1"}}
    ranked.client.session._auto_decompress = False
    _, plain, expected = exchange(ranked, asked, **{"Accept-Encoding": "identity"})

    _, headers, raw = exchange(ranked, asked, **{"Accept-Encoding": encoding})

    assert "Content-Encoding" not in plain
    assert (headers["Content-Encoding"], headers["Vary"]) == (encoding, "Accept, Accept-Encoding")
    assert len(raw) < len(expected) / 5
    assert columns(orjson.loads(unpack(raw))) == columns(orjson.loads(expected))


def test_a_short_answer_is_not_packed(ranked):
    asked = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": "a1"}}

    _, headers, _ = exchange(ranked, asked, **{"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in headers
