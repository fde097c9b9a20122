"""The on-demand features that a view of the lane `stream` brings along: the value of each window at the time of reading."""

from typing import Any

from tailrace.definitions.on_demand import OnDemandFeature
from tailrace.definitions.recent import NEWEST, Ring, rings_of
from tailrace.definitions.view import FeatureView
from tailrace.schemas.tables import Type


def windows_of(view: FeatureView) -> dict[str, OnDemandFeature]:
    """One feature for each count and window, of the name that a batch view would give it."""
    return {ring.name: finished(view, ring) for ring in rings_of(view.aggregations)}


def finished(view: FeatureView, ring: Ring) -> OnDemandFeature:
    def compute(minute: Any, *buckets: Any, now: Any) -> Any:
        return ring.value_at(minute, buckets, now)

    names = (NEWEST.name, *(column.name for column in ring.columns))
    return OnDemandFeature(
        name=ring.name,
        type=Type.INT64,
        inputs=tuple(f"{view.name}:{name}" for name in names),
        owner=view.owner,
        description=f"{view.aggregations[ring.line].name} of {view.name} in the window, exact to {ring.width} min.",
        compute=compute,
    )
