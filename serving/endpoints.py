"""The endpoints other than the one that reads: writes of direct views, and those for operators."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate
from typing import Any

import orjson
from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from serving.auth.policy import IDENTITY, check_write
from serving.common.request import BadRequest
from serving.engine import CURRENT, Engine
from serving.http.admission import WRITE_PLACES, body_of, reservation_of
from serving.http.responses import as_json
from serving.telemetry.metrics import (
    AGE,
    BOUNDS,
    BUILD,
    METRICS,
    PREFIX,
    READABLE,
    WATERMARK,
    WRITES,
    Counters,
    Metric,
    Series,
    SharedMetrics,
)
from serving.write.body import parse_body, values_of, view_of
from serving.write.idempotency import Once, key_of
from tailrace.schemas.slots import from_micros, to_text
from tailrace.store.direct.pending import Written
from tailrace.store.direct.sender import Overwritten
from tailrace.store.direct.writer import DirectWriter
from tailrace.store.port import Refused, Stale

LOG_FAILS = "the log of direct writes could not be written; the reader's log says why"
BUCKETS = (*map(str, BOUNDS), "+Inf")

OK, MIXED, INVALID, STALE = 200, 207, 400, 409

Result = dict[str, Any]

COUNTERS = web.AppKey("COUNTERS", Counters)
WRITER = web.AppKey("WRITER", DirectWriter)
ONCE = web.AppKey("ONCE", Once)


class Sums(Collector):
    """The counts of all processes, and the state of the store as the engine of the one that answers knows it."""

    def __init__(self, shared: SharedMetrics, engine: Engine) -> None:
        self._shared = shared
        self._engine = engine

    def collect(self) -> Iterator[Family]:
        totals = self._shared.totals()
        for metric in METRICS:
            yield family_of(metric, {series: counts for series, counts in totals.items() if series[0] == metric.name})
        yield from self._of_views()
        info = {"version": own_version(), "definitions": self._engine.definitions.files}
        yield InfoMetricFamily(PREFIX + BUILD.name, BUILD.meaning, info)

    def _of_views(self) -> Iterator[Family]:
        watermarks = GaugeMetricFamily(PREFIX + WATERMARK.name, WATERMARK.meaning, labels=WATERMARK.labels)
        ages = GaugeMetricFamily(PREFIX + AGE.name, AGE.meaning, labels=AGE.labels)
        for view, micros in sorted(self._engine.controls.watermarks().items()):
            watermarks.add_metric([view], micros / 1e6)
            ages.add_metric([view], time.time() - micros / 1e6)
        yield from (watermarks, ages)
        readable = not self._engine.controls.failure
        yield GaugeMetricFamily(PREFIX + READABLE.name, READABLE.meaning, value=readable)


def family_of(metric: Metric, totals: dict[Series, list[float]]) -> Family:
    name = f"{PREFIX}{metric.name}"
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
        for series, counts in sorted(totals.items()):
            *buckets, total = counts
            histogram.add_metric(series[1:], list(zip(BUCKETS, accumulate(buckets), strict=True)), sum_value=total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.meaning, labels=metric.labels)
    for series, counts in sorted(totals.items()):
        family.add_metric(series[1:], counts[0])
    return family


def exposed(shared: SharedMetrics, engine: Engine, *, accept: str) -> tuple[bytes, str]:
    """The metrics in the form that the asking side accepts, and the name of that form."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Sums(shared, engine))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


@cache
def own_version() -> str:
    try:
        return version("tailrace")
    except PackageNotFoundError:
        return "unknown"


def result_of(result: Written | BadRequest) -> tuple[int, Result]:
    """The HTTP status of a write of this entity only, and its result."""
    if isinstance(result, BadRequest):
        return INVALID, {"status": "INVALID", "detail": str(result)}
    occurred_at = to_text(from_micros(result.order.occurred_at))
    if result.result is None:
        return OK, {"status": "WRITTEN", "occurred_at": occurred_at}
    if isinstance(result.result, Overwritten):
        return OK, {"status": "WRITTEN", "occurred_at": occurred_at, "overwritten": True}
    if isinstance(result.result, Refused):
        return INVALID, {"status": "INVALID", "detail": f"the store refused it: {result.result.why}"}
    return STALE, {"status": "STALE", "occurred_at": occurred_at} | stored(result.result)


def stored(stale: Stale) -> Result:
    """When the value that the store has is of; missing if the view has just changed hands."""
    return {"stored_at": None if stale.stored is None else to_text(from_micros(stale.stored.occurred_at))}


def answer_of(view: str, results: Sequence[Written | BadRequest]) -> web.Response:
    """The answer to a write: 207 where entities fared differently."""
    statuses, bodies = zip(*map(result_of, results), strict=True)
    status = statuses[0] if len({*statuses}) == 1 else MIXED
    body = {"view": view, "results": bodies}
    if status in {INVALID, STALE}:
        body["detail"] = bodies[0].get("detail") or "the store has a later value"
    return as_json(orjson.dumps(body), status=status)


async def write_values(request: web.Request) -> web.Response:
    """Write values of one view; what is answered as written is in the store, and durably in the log."""
    refuse_pages(request)
    raw = await body_of(request, request.app[WRITE_PLACES])
    await request.app[WRITE_PLACES].enter(reservation_of(request))
    return await written(request, raw)


async def written(request: web.Request, raw: bytes) -> web.Response:
    body = parse_body(raw)
    check_write(request, body.view)
    view = view_of(body, request.app[CURRENT].engine.definitions)
    values = values_of(body, view, now=time.time_ns() // 1000)
    good = [value for value in values if not isinstance(value, BadRequest)]
    key = key_of(request.headers)
    if key is None or not good:
        done = await request.app[WRITER].write(good)
    else:
        done = await request.app[ONCE].write(good, key=key, caller=request[IDENTITY].name, body=raw)
    outcomes = iter(done)
    results = [value if isinstance(value, BadRequest) else next(outcomes) for value in values]
    for status, count in Counter(result_of(result)[1]["status"] for result in results).items():
        request.app[COUNTERS].add((WRITES, view.name, status), count)
    return answer_of(view.name, results)


def refuse_pages(request: web.Request) -> None:
    """Raise `BadRequest` for what a page of another site has a browser send: a local reader believes everybody.

    The host is the page's own choice, which `Guard.check_host` has looked at before.
    """
    origins = request.headers.getall("Origin", ())
    if any(origin.partition("://")[2] != request.host for origin in origins):
        raise BadRequest("header Origin: pages of other sites write nothing here")


async def alive(_: web.Request) -> web.Response:
    return as_json(orjson.dumps({"status": "alive"}))


async def ready(request: web.Request) -> web.Response:
    current = request.app[CURRENT]
    controls = current.engine.controls
    await controls.be_fresh()
    unready = controls.unready()
    is_ready = not unready and not current.leaving
    answer = {
        "ready": is_ready,
        "store": controls.failure or "answers",
        "views": unready,
        "writes": "accepted" if request.app[WRITER].takes_writes else LOG_FAILS,
        "definitions": current.engine.definitions.files,
        "stopping": current.leaving,
    }
    return as_json(orjson.dumps(answer), status=200 if is_ready else 503)


async def features(request: web.Request) -> web.Response:
    return as_json(request.app[CURRENT].engine.catalogue)


async def metrics(request: web.Request) -> web.Response:
    shared, engine, accept = (
        request.app[COUNTERS].shared,
        request.app[CURRENT].engine,
        request.headers.get("Accept", ""),
    )
    body, content_type = await asyncio.to_thread(
        exposed, shared, engine, accept=accept
    )  # milliseconds, with many views
    return web.Response(body=body, headers={"Content-Type": content_type})


async def openapi(request: web.Request) -> web.Response:
    return as_json(request.app[CURRENT].engine.openapi)
