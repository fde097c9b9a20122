"""A span for each feature request with one for each of its stages, where OpenTelemetry is wanted and installed."""

import time
from typing import TYPE_CHECKING

from aiohttp import web

from serving.common.messages import LONGEST_LINE, brief
from serving.telemetry.access_log import Trip
from tailrace.errors import SetupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class TracingError(SetupError):
    """Traces are wanted and cannot be made; the message says what is missing."""


class Tracing:
    """Makes spans of requests that have ended; they cost nothing while a request is in flight.

    A request's span belongs to the trace that its header `traceparent` names (https://www.w3.org/TR/trace-context/).
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("tailrace.serving")
        self._context = TraceContextTextMapPropagator()

    def record(self, request: web.Request, trip: Trip, *, status: int) -> None:
        from opentelemetry import trace

        if trip.asked is None:
            return
        end = time.time_ns()
        begin = end - nanoseconds(time.perf_counter() - trip.begun)
        span = self._tracer.start_span(
            f"{request.method} {request.path}",
            context=self._context.extract(request.headers),
            kind=trace.SpanKind.SERVER,
            start_time=begin,
            attributes={
                "http.request.method": request.method,
                "url.path": brief(request.path, LONGEST_LINE),
                "http.response.status_code": status,
                "tailrace.request_id": trip.id,
                "tailrace.rows": trip.asked.rows,
                "tailrace.feature_service": trip.asked.service or "",
            },
        )
        if status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        if span.is_recording():
            within, since = trace.set_span_in_context(span), begin
            for stage, seconds in trip.seconds.items():
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
