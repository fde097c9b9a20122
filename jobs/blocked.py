"""Sources that are blocked: each with its reason, what was left behind, and the views that wait for them."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from tailrace.definitions import Definitions
from tailrace.definitions.derived_source import origins
from tailrace.errors import DataError, TailraceError, is_retryable
from tailrace.lake.delta_log import CONFLICTS
from tailrace.lake.session import first_line
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


Json = dict[str, Any]
Waiting = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class BlockedSource:
    """Why a source's new data waits: the layer that refused it, and the error that it would have raised."""

    layer: str
    reason: Exception

    @property
    def is_retryable(self) -> bool:
        return is_retryable(self.reason)

    def json(self) -> Json:
        """The reason as reports have it; errors that are not ours may go on for pages."""
        why = str(self.reason) if isinstance(self.reason, TailraceError) else first_line(self.reason)
        kind = type(self.reason).__name__
        return {"layer": self.layer, "kind": kind, "why": why, "retryable": self.is_retryable}


BlockedSources = Mapping[str, BlockedSource]


def blocked_in(layer: str, reasons: Reasons) -> dict[str, BlockedSource]:
    """The sources that a layer refused."""
    return {name: BlockedSource(layer=layer, reason=reason) for name, reason in reasons.items()}


class SourcesBlocked(DataError):
    """Sources that were refused, while all others were refreshed; `report` has what was done, and each reason."""

    def __init__(self, report: Any, blocked: BlockedSources) -> None:
        self.report = report
        self.blocked = blocked
        self.retryable = any(one.is_retryable for one in blocked.values())
        super().__init__("\n".join(f"source {name} is blocked: {one.json()['why']}" for name, one in blocked.items()))


def waiting_views(definitions: Definitions, lake: Lake) -> dict[str, tuple[str, ...]]:
    """The batch views that wait, each with the blocked sources that it is computed from.

    Their as-of time stays: with a newer one they would claim to have data that they do not have.
    """
    blocked = left_behind(lake, BRONZE, SILVER)
    if not blocked:
        return {}
    # Of what was left behind, a source that is derived from another may only wait for that one.
    waiting = {name for name, one in definitions.derived.items() if (origins(one) - {name}) & blocked}
    behind = {one.silver_table.name: origins(one) & blocked - waiting for one in definitions.sources_and_derived}
    found: dict[str, tuple[str, ...]] = {}
    for view in definitions.batch_views.values():
        of_base = (frozenset(found.get(base, ())) for base in view.base_views)
        causes = frozenset[str]().union(*(behind[name] for name in view.inputs), *of_base)
        if causes:
            found[view.name] = tuple(sorted(causes))
    return found


def without(definitions: Definitions, views: Waiting) -> Definitions:
    """The definitions without some views."""
    return replace(definitions, views={name: one for name, one in definitions.views.items() if name not in views})


def blocked_json(blocked: BlockedSources, waiting: Waiting) -> Json:
    """Blocked sources and the views that wait for them, as reports have them; nothing where there are none."""
    shown: Json = {"blocked": {name: one.json() for name, one in blocked.items()}} if blocked else {}
    return shown | ({"views_waiting": {name: list(causes) for name, causes in waiting.items()}} if waiting else {})
