"""The verdict of a layer's quality gate as a task of its own, which is red where the gate stopped rows."""

import logging
from typing import Any

from airflow.sdk import Asset, AssetAlias, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from tailrace.dags.per_view import together
from tailrace.dags.spark_operator import Figures

log = logging.getLogger(__name__)

# Each gold view is an asset by itself, made known by the first refresh that brings it forward.
VIEWS = AssetAlias("tailrace-gold-views")


def layer_asset(layer: str) -> Asset:
    """What other DAGs are scheduled on; its events carry the layer's figures."""
    return Asset(name=f"tailrace-{layer}", uri=f"tailrace://{layer}", group="tailrace")


def view_asset(view: str) -> Asset:
    return Asset(name=f"tailrace-gold-{view}", uri=f"tailrace://gold/{view}", group="tailrace")


def quality_gate(layer: str, figures: Any) -> Any:
    """A task that fails with the gate's reason, or else tells the figures and marks what was brought forward.

    `figures` is what the layer's task returns, or its mapped tasks.
    """
    asset = layer_asset(layer)

    @task(task_id="quality_gate", outlets=[asset, VIEWS])
    def tell(told: Any) -> Figures:
        figures: Figures = told if isinstance(told, dict) else together(told)
        if "stopped" in figures:
            raise AirflowFailException(figures["stopped"]["told"])
        outlet_events = get_current_context()["outlet_events"]
        views = figures.get("views", {}) if layer == "gold" else {}
        outlet_events[asset].extra = {name: value for name, value in figures.items() if name != "words"}
        for view, found in views.items():
            outlet_events[VIEWS].add(view_asset(view), extra=found)
        for line in figures["words"]:
            log.info(line)
        return figures

    return tell(figures)
