"""Sources that a refresh could not go on with: named with their reasons and the views that wait, while all others are served."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jobs.blocked import BRONZE, SILVER, Reasons, left_behind
from jobs.maintenance import first_line
from tailrace.definitions import Definitions
from tailrace.definitions.derived_source import origins
from tailrace.errors import DataError, TailraceError, is_retryable
from tailrace.lake.tables import Lake

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
