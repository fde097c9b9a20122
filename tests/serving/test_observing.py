"""What is noted of each request: its id, its line in the log, its span, and whether its connection ends."""

import http.server
import json
import os
import re
import sys
import threading
import urllib.request
from dataclasses import replace

import orjson
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.common.messages import ServingError
from serving.engine import CURRENT
from serving.process.supervisor import run_reader
from serving.telemetry.metrics import Counters, SharedMetrics
from serving.telemetry.requests import LINES_KEPT, AccessLog, RequestTiming, Tracing
from tests.serving.processes import served

ASKED = {"features": ["actor_activity:events_7d"], "entities": {"actor_id": ["a0", "a1"]}}
SERVICE = {"feature_service": "ranker", "entities": {"document_id": ["d0"], "actor_id": ["a0"]}}


def headers_of(reader, path="/health", **headers):
    async def read():
        async with reader.client.get(path, headers=headers) as answer:
            return answer.headers

    return reader.runner.run(read())


def test_a_request_keeps_its_id(reader):
    assert headers_of(reader, **{"X-Request-Id": "from-the-ranker/7"})["X-Request-Id"] == "from-the-ranker/7"
    assert headers_of(reader, "/nowhere", **{"X-Request-Id": "a"})["X-Request-Id"] == "a"


@pytest.mark.parametrize("given", [{}, {"X-Request-Id": "two words"}, {"X-Request-Id": "x" * 129}])
def test_a_request_without_a_usable_id_gets_one_of_its_own(reader, given):
    ids = {headers_of(reader, **given)["X-Request-Id"] for _ in range(3)}

    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{12}-[0-9a-f]+", one) for one in ids)


def test_an_answer_says_that_it_is_the_last_of_its_connection_once_the_process_closes(reader):
    assert "Connection" not in headers_of(reader)

    reader.client.app[CURRENT].closing = True

    assert headers_of(reader)["Connection"] == "close"
    assert headers_of(reader, "/nowhere")["Connection"] == "close"


@pytest.fixture
def lines(start_reader, definitions, capfd):
    """Have requests answered by a reader that logs some; its lines, and those of its end."""

    def ask(which, *requests):
        reader = start_reader(definitions, access_log=which)
        for body in requests:
            reader.send("POST", "/get-online-features", json=body, headers={"X-Request-Id": "r1"})
        reader.runner.run(reader.client.close())
        return [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]

    return ask


def test_every_request_has_a_line_that_tells_what_was_asked_and_how_long_it_took(store, lines):
    by_name, of_service = lines("all", ASKED, SERVICE)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*\+00:00", by_name["time"])
    assert (by_name["logger"], by_name["request_id"]) == ("serving.access", "r1")
    assert (by_name["method"], by_name["path"], by_name["status"]) == ("POST", "/get-online-features", 200)
    assert (by_name["features"], by_name["rows"]) == (["actor_activity:events_7d"], 2)
    assert by_name["bytes"] > 100
    assert list(by_name["stages_ms"]) == ["receive", "parse", "store", "decode", "on_demand", "write"]
    assert 0 < sum(by_name["stages_ms"].values()) <= by_name["ms"] + 0.01
    assert (of_service["feature_service"], of_service["rows"]) == ("ranker", 1)


def test_only_refused_and_failed_requests_are_logged_by_default(store, lines, settings):
    [line] = lines(settings.reader.access_log, ASKED, {"features": ["nothing"], "entities": {"actor_id": ["a0"]}})

    assert (line["status"], line["features"]) == (400, ["nothing"])


def test_nothing_is_logged_where_nothing_is_wanted(store, lines):
    assert lines("off", ASKED, {}) == []


class Request:
    method, path = "GET", "/health"


def test_an_output_that_takes_nothing_stops_no_request():
    readable, writable = os.pipe()
    counters = Counters(SharedMetrics(1))
    with AccessLog("all", counters, descriptor=writable) as log:
        for _ in range(LINES_KEPT * 3):
            log.record(Request(), None, RequestTiming(), status=200)  # type: ignore[arg-type]

    lost = counters.shared.totals()["access_log_lines_lost",]
    assert lost[0] > LINES_KEPT
    os.close(readable)


@pytest.fixture
def spans(start_reader, definitions):
    """Have a request answered by a reader that traces; its spans by name."""

    def ask(body, **headers):
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        reader = start_reader(definitions, tracing=Tracing(provider))
        reader.send("POST", "/get-online-features", json=body, headers=headers)
        reader.get("/health")
        return {span.name: span for span in exporter.get_finished_spans()}

    return ask


def test_a_request_is_a_span_of_its_callers_trace_with_one_for_each_stage(store, spans):
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

    told = spans(SERVICE, traceparent=f"00-{trace}-{parent}-01")

    whole = told.pop("POST /get-online-features")
    assert list(told) == ["receive", "parse", "store", "decode", "on_demand", "write"]
    assert {f"{span.context.trace_id:032x}" for span in (whole, *told.values())} == {trace}
    assert f"{whole.parent.span_id:016x}" == parent
    assert {span.parent.span_id for span in told.values()} == {whole.context.span_id}
    assert whole.attributes["http.response.status_code"] == 200
    assert (whole.attributes["tailrace.feature_service"], whole.attributes["tailrace.rows"]) == ("ranker", 1)
    assert whole.start_time == told["receive"].start_time
    assert told["write"].end_time <= whole.end_time


def test_a_request_that_its_caller_does_not_sample_is_not_traced(store, spans):
    assert spans(SERVICE, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00") == {}


@pytest.fixture
def collector():
    """An address that takes spans, and what was sent there."""
    received = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_a_reader_sends_its_spans_where_the_environment_says(settings, store, tmp_path, collector, monkeypatch):
    endpoint, received = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ranking-features")

    with served(settings, tmp_path, workers=1, READER_OTEL="1") as running:
        urllib.request.urlopen(
            f"{running.address}/get-online-features", json.dumps(SERVICE).encode(), timeout=20
        ).close()

    [(path, body)] = received
    assert path == "/v1/traces"
    assert b"POST /get-online-features" in body
    assert b"ranking-features" in body


def test_traces_without_what_makes_them_are_refused_with_its_name(settings, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    traced = replace(settings, reader=replace(settings.reader, traces=True))

    with pytest.raises(ServingError, match="needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"):
        run_reader(traced, port=0, workers=1, local=True)
