"""The metrics of all processes as Prometheus reads them, whichever process it asks."""

import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from serving.engine import Engine
from serving.telemetry.metrics import AGE, BOUNDS, BUILD, METRICS, PREFIX, READABLE, WATERMARK, Board, Metric, Series

BUCKETS = (*map(str, BOUNDS), "+Inf")


class Sums(Collector):
    """What the processes counted, and what the engine of the one that answers knows of the store."""

    def __init__(self, board: Board, engine: Engine) -> None:
        self._board = board
        self._engine = engine

    def collect(self) -> Iterator[Family]:
        totals = self._board.totals()
        for metric in METRICS:
            yield family_of(metric, {series: cells for series, cells in totals.items() if series[0] == metric.name})
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
        for series, cells in sorted(totals.items()):
            *buckets, total = cells
            histogram.add_metric(series[1:], list(zip(BUCKETS, accumulate(buckets), strict=True)), sum_value=total)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.meaning, labels=metric.labels)
    for series, cells in sorted(totals.items()):
        family.add_metric(series[1:], cells[0])
    return family


def exposed(board: Board, engine: Engine, *, accept: str) -> tuple[bytes, str]:
    """The metrics in the form that the asking side accepts, and the name of that form."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Sums(board, engine))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


@cache
def own_version() -> str:
    try:
        return version("tailrace")
    except PackageNotFoundError:
        return "unknown"
