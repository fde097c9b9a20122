"""Requests that no client of ours would send, over a raw socket: each is answered for what it is, and others after it."""

import asyncio
from dataclasses import dataclass, replace

import orjson
import pytest

from features.language import load_definitions
from online import embedded
from serving.app import make_app
from serving.operations.board import Board, Cells
from tests.serving.conftest import direct_log
from tests.serving.odd import Answer, answers_to, listening, message

ASKED = orjson.dumps({"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0"]}})
WRITE = orjson.dumps({"view": "document_relevance", "entities": []})
FEATURES = b"/get-online-features"


@dataclass(frozen=True)
class Local:
    """A local reader that all tests here share."""

    runner: asyncio.Runner
    port: int
    cells: Cells

    def ask(self, *parts: bytes) -> list[Answer]:
        return self.runner.run(answers_to(self.port, *parts))

    def answer(self, *parts: bytes) -> Answer:
        """The only answer to what is sent."""
        [answer] = self.ask(*parts)
        return answer


@pytest.fixture(scope="module")
def reader(store_settings):
    settings = replace(store_settings, store=replace(store_settings.store, table="odd-requests"))
    cells = Cells(Board(1))
    app = make_app(
        load_definitions(),
        url=embedded.store_url(settings),
        region=settings.store.region,
        table=settings.store.table,
        limits=settings.reader,
        local=True,
        cells=cells,
        direct=direct_log(settings),
    )
    with asyncio.Runner() as runner:
        site = listening(app)
        yield Local(runner, runner.run(site.__aenter__()), cells)
        runner.run(site.__aexit__(None, None, None))


LAST = b"Connection: close"


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
