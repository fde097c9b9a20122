"""Records of each request: the time of its stages, a line in the access log, and spans."""

import os
import time
from collections import deque
from datetime import UTC, datetime
from threading import Event, Thread
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import orjson
from aiohttp import web

from serving.common.messages import LONGEST_LINE, brief
from serving.common.request import FeatureRequest
from serving.telemetry.metrics import LINES_LOST, Counters
from tailrace.errors import SetupError
from tailrace.settings import AccessLogging

Stage = Literal["receive", "parse", "store", "decode", "on_demand", "write"]

LOGGER = "serving.access"  # what its lines call themselves, among others on the same output
STANDARD_OUTPUT = 1
EVERY_SECONDS = 0.2
LINES_KEPT = 10_000  # while the output takes none
NAMES_LOGGED = 20
LONGEST_NAME = 200  # characters of what a caller chose
WHOLE_BYTES = 4096  # what one write puts into a pipe without another process's in between


class RequestTiming:
    """How long each stage took, in seconds, what was asked, and why there is no answer if there is none.

    A stage begins where the one before it ended, the first with the request's headers.
    """

    __slots__ = ("_since", "asked", "begun", "id", "seconds", "why")

    def __init__(self) -> None:
        self.begun = self._since = perf_counter()
        self.seconds: dict[Stage, float] = {}
        self.id = ""
        self.why = ""  # for the log: callers get less
        self.asked: FeatureRequest | None = None

    def end(self, stage: Stage) -> None:
        now = perf_counter()
        self.seconds[stage] = now - self._since
        self._since = now

    @property
    def total(self) -> float:
        """Seconds until the last stage that ended."""
        return self._since - self.begun


TIMING = web.RequestKey("TIMING", RequestTiming)


class AccessLog:
    """Logs all requests, those that were refused or failed, or none; a context that a thread writes in.

    An output that takes no lines stops nothing: lines that find no room are counted and dropped.
    """

    def __init__(self, which: AccessLogging, counters: Counters, *, descriptor: int = STANDARD_OUTPUT) -> None:
        self._which = which
        self._counters = counters
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._unwritten = 0  # lines that the output refused, until they are counted
        self._stopped = Event()
        self._writer = Thread(target=self._write, name="access-log", daemon=True)

    def __enter__(self) -> "AccessLog":
        if self._which != "off":
            self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._which != "off":
            self._writer.join(5 * EVERY_SECONDS)  # not for ever: the output may take nothing any more

    def record(
        self, request: web.Request, answer: web.StreamResponse | None, timing: RequestTiming, *, status: int
    ) -> None:
        if self._which == "off" or (self._which == "refused" and status < 400):
            return
        if self._unwritten:
            lost, self._unwritten = self._unwritten, 0
            self._counters.add((LINES_LOST,), lost)
        if len(self._lines) >= LINES_KEPT:
            self._counters.add((LINES_LOST,))
            return
        line = {
            "time": datetime.now(UTC),
            "logger": LOGGER,
            "request_id": timing.id,
            "method": request.method,
            "path": brief(request.path, LONGEST_NAME),
            "status": status,
            "ms": milliseconds(perf_counter() - timing.begun),
            "bytes": answer.content_length if answer is not None else None,
        }
        if timing.why:
            line["why"] = timing.why
        if timing.asked is not None:
            asked = timing.asked
            line |= {
                "stages_ms": {stage: milliseconds(one) for stage, one in timing.seconds.items()},
                "rows": asked.rows,
            }
            names = [brief(one, LONGEST_NAME) for one in asked.features[:NAMES_LOGGED]]
            line |= {"feature_service": brief(asked.service, LONGEST_NAME)} if asked.service else {"features": names}
        self._lines.append(orjson.dumps(line) + b"\n")

    def _write(self) -> None:
        while not self._stopped.wait(EVERY_SECONDS):
            self._write_lines()
        self._write_lines()

    def _write_lines(self) -> None:
        while self._lines:
            together = self._lines.popleft()
            while self._lines and len(together) + len(self._lines[0]) <= WHOLE_BYTES:
                together += self._lines.popleft()
            try:
                while together:
                    together = together[os.write(self._descriptor, together) :]
            except OSError:  # nobody reads any more, or a disk is full
                self._unwritten += together.count(b"\n")


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class TracingError(SetupError):
    """Traces are set and cannot be made; the message says what is missing."""


class Tracing:
    """Makes spans of requests that have ended; they cost nothing while a request is in flight.

    A request's span belongs to the trace that its header `traceparent` names (https://www.w3.org/TR/trace-context/).
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("tailrace.serving")
        self._context = TraceContextTextMapPropagator()

    def record(self, request: web.Request, timing: RequestTiming, *, status: int) -> None:
        from opentelemetry import trace

        if timing.asked is None:
            return
        end = time.time_ns()
        begin = end - nanoseconds(time.perf_counter() - timing.begun)
        span = self._tracer.start_span(
            f"{request.method} {request.path}",
            context=self._context.extract(request.headers),
            kind=trace.SpanKind.SERVER,
            start_time=begin,
            attributes={
                "http.request.method": request.method,
                "url.path": brief(request.path, LONGEST_LINE),
                "http.response.status_code": status,
                "tailrace.request_id": timing.id,
                "tailrace.rows": timing.asked.rows,
                "tailrace.feature_service": timing.asked.service or "",
            },
        )
        if status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        if span.is_recording():
            within, since = trace.set_span_in_context(span), begin
            for stage, seconds in timing.seconds.items():
                child = self._tracer.start_span(stage, context=within, start_time=since)
                since += nanoseconds(seconds)
                child.end(since)
        span.end(end)

    def close(self) -> None:
        """Send what has not been sent yet."""
        self._provider.shutdown()


def start_tracing() -> Tracing:
    """Send spans as the variables `OTEL_*` say (https://opentelemetry.io/docs/languages/sdk-configuration/)."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        missing = "TAILRACE_READER_OTEL=1 needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
        raise TracingError(f"{missing}: {error}") from error
    resource = Resource.create({"service.name": "tailrace-reader"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
