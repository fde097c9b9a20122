"""Requests that no client of ours would send, over a raw socket: each is answered for what it is, and others after it."""

import asyncio
from dataclasses import dataclass, replace
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.app import make_app
from serving.common.messages import LONGEST_DETAIL
from serving.engine import Engine
from serving.telemetry.metrics import REQUESTS, Counters, SharedMetrics
from tailrace.definitions import load_definitions
from tailrace.store import embedded
from tailrace.store.dynamodb.calls import open_client
from tailrace.store.dynamodb.store import ensure_table
from tests.serving.conftest import direct_log
from tests.serving.odd import PATIENCE_SECONDS, Answer, answers_to, asked, listening, message
from tests.serving.write.conftest import RELEVANCE, of

ASKED = orjson.dumps({"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0"]}})
WRITE = orjson.dumps({"view": "relevance", "entities": [of("d1")]})
LAST = b"Connection: close"


@dataclass(frozen=True)
class Local:
    """A local reader that all tests here share."""

    runner: asyncio.Runner
    port: int
    counters: Counters

    def ask(self, *parts: bytes) -> list[Answer]:
        return self.runner.run(answers_to(self.port, *parts))

    def requests(self, status: str) -> float:
        """How many requests were counted with this status."""
        totals = self.counters.shared.totals()
        return sum(values[0] for series, values in totals.items() if series[0] == REQUESTS and series[2] == status)

    def answer(self, *parts: bytes) -> Answer:
        """The only answer to what is sent."""
        [answer] = self.ask(*parts)
        return answer


async def have_table(settings):
    store = settings.store
    async with open_client(url=embedded.store_url(settings), region=store.region, table=store.table) as client:
        await ensure_table(client)


@pytest.fixture(scope="module")
def reader(store_settings):
    settings = replace(store_settings, store=replace(store_settings.store, table="odd-requests"))
    counters, definitions = Counters(SharedMetrics(1)), load_definitions()
    app = make_app(
        replace(definitions, views=definitions.views | {RELEVANCE.name: RELEVANCE}),
        url=embedded.store_url(settings),
        region=settings.store.region,
        table=settings.store.table,
        limits=replace(settings.reader, access_log="off"),
        local=True,
        counters=counters,
        direct=direct_log(settings),
    )
    with asyncio.Runner() as runner:
        runner.run(have_table(settings))
        site = listening(app)
        yield Local(runner, runner.run(site.__aenter__()), counters)
        runner.run(site.__aexit__(None, None, None))


@pytest.mark.parametrize("host", [b"evil.example", b"evil.example:7701", b"127.0.0.1.evil.example", b"0.0.0.0", b""])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        (b"POST", b"/get-online-features"),
        (b"POST", b"/v1/write"),
        (b"GET", b"/features"),
        (b"GET", b"/openapi.json"),
        (b"GET", b"/metrics"),
        (b"GET", b"/nowhere"),
    ],
)
def test_a_local_reader_answers_for_no_other_host(reader, host, method, path):
    page = b"Origin: http://" + host  # of a page whose own name was made to lead here

    answer = reader.answer(message(page, LAST, method=method, path=path, host=host))

    assert answer.status == 421
    assert "localhost" in answer.detail


@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:1", b"127.0.0.1:7701", b"127.9.9.9", b"[::1]:7701", b"[::1]"]
)
def test_a_local_reader_answers_for_its_own_machine(reader, host):
    assert reader.answer(message(LAST, host=host)).status == 200


@pytest.mark.parametrize("path", [b"/health", b"/ready"])
def test_probes_come_under_any_name(reader, path):
    assert reader.answer(message(LAST, path=path, host=b"evil.example")).status != 421


H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket")
PLAIN = asked(ASKED)


@pytest.mark.parametrize("upgrade", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("order", ["up", "uu", "pup", "puu", "up in parts", "upu in parts"])
def test_no_request_behind_one_that_would_change_the_protocol_waits_for_ever(reader, upgrade, order):
    kinds = {"u": asked(ASKED, *upgrade), "p": PLAIN}
    sent = [kinds[one] for one in order.split()[0]] + [asked(ASKED, LAST)]

    answers = reader.ask(*sent if "parts" in order else [b"".join(sent)])

    assert {answer.status for answer in answers} == {200}
    assert answers[-1].closes
    assert len(answers) == (len(sent) if "parts" in order else 1)  # what was dropped is to be asked again


@pytest.mark.parametrize("body", [ASKED, b"", b"\x1f\x8b\x08garbage", b"\x28\xb5\x2f\xfd\x00\x00"])
@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd"])
@pytest.mark.parametrize("path", [b"/get-online-features", b"/v1/write"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_body_that_is_not_packed_as_it_says_is_refused(reader, path, encoding, body, parts):
    whole = asked(body, b"Content-Encoding: " + encoding, LAST, path=path)
    cuts = [round(len(whole) * part / parts) for part in range(parts + 1)]

    answer = reader.answer(*(whole[begin:end] for begin, end in pairwise(cuts)))

    assert (answer.status, bool(answer.detail)) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        (b"/get-online-features", ASKED, b"Tailrace-Budget-Ms"),
        (b"/v1/write", WRITE, b"Idempotency-Key"),
    ],
)
@pytest.mark.parametrize("values", [(b"100", b"200"), (b"100", b"100"), (b"", b"100")])
def test_a_header_that_may_come_once_is_refused_twice(reader, path, body, name, values):
    answer = reader.answer(asked(body, *(name + b": " + value for value in values), LAST, path=path))

    assert (answer.status, name.decode() in answer.detail) == (400, True)


def test_a_list_that_comes_in_two_headers_is_one_list(reader):
    accepts = (b"Accept: text/html", b"Accept: application/vnd.tailrace.columns+json")

    answer = reader.answer(asked(ASKED, *accepts, LAST))

    assert answer.headers["content-type"] == "application/vnd.tailrace.columns+json"


@pytest.mark.parametrize("path", [b"/get-online-features", b"/v1/write"])
@pytest.mark.parametrize("abruptly", [True, False])
def test_a_client_that_leaves_while_it_sends_is_no_error_of_ours(reader, caplog, path, abruptly):
    left, failed = reader.requests("499"), reader.requests("500")

    async def leave():
        _, outgoing = await asyncio.open_connection("127.0.0.1", reader.port)
        outgoing.write(asked(b"{", b"Content-Length: 1000", path=path))
        await asyncio.sleep(0.05)
        if abruptly:
            outgoing.transport.abort()
        outgoing.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while reader.requests("499") == left:  # noqa: ASYNC110 - nobody tells the client any more
                await asyncio.sleep(0.01)

    reader.runner.run(leave())

    assert reader.requests("499") == left + 1
    assert reader.requests("500") == failed
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        (b"GET", b"/get-online-feature", 404, ["/get-online-feature", "/get-online-features", "/openapi.json"]),
        (b"POST", b"/write-to-online-store", 404, ["/v1/write"]),
        (b"GET", b"/get-online-features", 405, ["POST", "GET"]),
        (b"DELETE", b"/v1/write", 405, ["POST", "DELETE"]),
        (b"GET", b"/\xff\xed\xa0\x80", 400, ["url"]),
        (b"GET", b"/%ED%A0%80/%00", 404, ["/features"]),
        (b"GET", b"/" + b"x" * 8_000, 404, ["/features"]),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(reader, method, path, status, words):
    answer = reader.answer(message(LAST, method=method, path=path))

    assert answer.status == status
    assert [word for word in words if word not in answer.detail] == []
    assert len(answer.detail) <= LONGEST_DETAIL


def test_a_refusal_is_not_longer_for_a_long_name(reader):
    named = orjson.dumps({"feature_service": "s" * 500_000, "entities": {"actor_id": ["a0"]}})

    answer = reader.answer(asked(named, LAST))

    assert (answer.status, "there are" in answer.detail) == (400, True)
    assert len(answer.detail) <= LONGEST_DETAIL


@pytest.mark.parametrize(
    "sent",
    [
        b"garbage\r\n\r\n",
        b"GET /features HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n",
        b"\x16\x03\x01\x02",
    ],
)
def test_what_is_not_http_is_answered_as_json_and_with_one_line_in_the_log(reader, caplog, sent):
    answer = reader.answer(sent + b"\r\n\r\n")

    assert (answer.status, answer.closes, bool(answer.detail)) == (400, True, True)
    assert [one.levelname for one in caplog.records] == ["WARNING"]
    assert "garbage" not in caplog.text


def test_an_error_that_nobody_expected_is_json_and_one_line_of_the_log(reader, caplog, monkeypatch):
    async def fail(*_, **__):
        raise RuntimeError("at /secret/path\n" * 1_000)

    monkeypatch.setattr(Engine, "answer", fail)

    answer = reader.answer(asked(ASKED, b"X-Request-Id: r-1", LAST))

    assert (answer.status, answer.headers["x-request-id"]) == (500, "r-1")
    assert "r-1" in answer.detail
    assert "secret" not in answer.detail
    [record] = caplog.records
    line = record.getMessage()
    assert ("RuntimeError" in line, "test_odd_requests.py" in line, "\n" in line, len(line) < 1_000) == (
        True,
        True,
        False,
        True,
    )
    assert record.exc_info is None


NAMES = [
    b"Accept", b"Accept-Encoding", b"Authorization", b"Connection", b"Content-Encoding", b"Content-Type", b"Expect",
    b"Idempotency-Key", b"Origin", b"Range", b"Tailrace-Budget-Ms", b"Upgrade", b"X-Request-Id", b"traceparent",
]  # fmt: skip
USUAL = [
    b"",
    b"*/*;q=0",
    b"gzip",
    b"identity;q=nan",
    b"upgrade",
    b"h2c",
    b"100-continue",
    b"null",
    b"1e3",
    b"-0",
    b"close",
]
VALUES = st.sampled_from(USUAL) | st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40).map(
    lambda text: text.encode("latin-1")
)
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=5)


@given(headers=HEADERS, path=st.sampled_from([b"/get-online-features", b"/v1/write"]))
def test_whatever_headers_say_the_answer_is_no_failure_and_the_next_request_is_answered(reader, headers, path):
    body = WRITE if path == b"/v1/write" else ASKED
    odd = asked(body, *(name + b": " + value for name, value in headers), path=path)

    answers = reader.ask(odd + message(LAST, path=b"/health"))  # until the reader closes the connection, which it does

    assert answers
    assert all(answer.status < 500 and (answer.status < 400 or answer.detail) for answer in answers)
    assert reader.answer(message(LAST, path=b"/health")).status == 200
