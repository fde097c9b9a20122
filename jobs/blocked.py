"""Sources that cannot go on for now: each is named with its reason, and the others do their part meanwhile."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from tailrace.errors import TailraceError
from tailrace.lake.delta_log import CONFLICTS
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze

log = logging.getLogger(__name__)

# What is about one source. That the JVM is gone, or that the code is wrong, is not.
REASONS = (TailraceError, PySparkException, Py4JJavaError, OSError)

Reasons = Mapping[str, Exception]


class Blocked:
    """The sources that one run has met a reason not to go on with, each with the first one.

    `before` are sources that a layer before this one has left behind.
    """

    def __init__(self, *, before: Iterable[str] = ()) -> None:
        self.before = frozenset(before)
        self.reasons: dict[str, Exception] = {}

    @property
    def sources(self) -> frozenset[str]:
        """All of them."""
        return self.before.union(self.reasons)

    def __contains__(self, source: str) -> bool:
        return source in self.sources

    @contextmanager
    def isolated(self, source: str) -> Iterator[None]:
        """Do a part of the work of one source; where that fails, only this source is blocked."""
        try:
            yield
        except REASONS as error:
            log.warning("source %s is blocked: %s", source, error)
            self.reasons.setdefault(source, error)


def raise_first(reasons: Reasons, *, of: Iterable[str]) -> None:
    """Raise the reason of the first of these sources that is blocked."""
    for source in of:
        if source in reasons:
            raise reasons[source]


BRONZE, SILVER = "bronze", "silver"
TRIES = 3
PROPERTY = "tailrace.blocked."  # of bronze.files, by layer: layers may run in processes of their own


def note_left_behind(lake: Lake, layer: str, sources: Iterable[str]) -> None:
    """Note which sources a layer has left behind, for the layers that come after it; no commit where they are the same."""
    names = ",".join(sorted(sources))
    for number in range(TRIES):
        if names == _noted(lake, layer):
            return
        lake.create(bronze.FILES)
        try:
            path = lake.path(bronze.FILES)
            lake.spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('{PROPERTY}{layer}' = '{names}')")
        except CONFLICTS:  # another load claims at this moment, or notes the same
            if number == TRIES - 1:
                raise


def left_behind(lake: Lake, *layers: str) -> set[str]:
    """The sources that layers have left behind."""
    return {name for layer in layers for name in _noted(lake, layer).split(",") if name}


def _noted(lake: Lake, layer: str) -> str:
    if not lake.exists(bronze.FILES):
        return ""
    found = lake.snapshot(bronze.FILES).metadata().configuration()
    return str(found.apply(PROPERTY + layer)) if found.contains(PROPERTY + layer) else ""
