"""The tasks of a refresh: its trigger form, tasks mapped over views, and gates of layers."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from airflow.sdk import Asset, AssetAlias, Context, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from tailrace.dags.spark_operator import Figures, application, blocked_words

PARAMS = {
    "as_of": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="As-of time",
        description="A quarter of an hour, UTC, up to the next one. Left empty: the last one.",
    ),
    "views": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        title="Views",
        description="Left empty: all of them.",
    ),
    "full": Param(
        False,
        type="boolean",
        title="Full refresh",
        description="Compute gold anew; the time may be an earlier one.",
    ),
    "allow": Param(
        None,
        type=["null", "string"],
        title="Let a large change through",
        description="The reason why more of a view may change than the breaker takes. The ledger keeps it.",
        section="When something was stopped",
    ),
    "set_aside": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        title="Set files aside",
        description="Files that the quality gate stopped, one a line, such as events/new.jsonl.",
        section="When something was stopped",
    ),
    "because": Param(
        None,
        type=["null", "string"],
        title="Why they are set aside",
        description="Kept with the files.",
        section="When something was stopped",
    ),
}

WHERE_SILVER_WAS_SKIPPED_TOO = "none_failed"

log = logging.getLogger(__name__)

# Each gold view is an asset by itself, made known by the first refresh that brings it forward.
VIEWS = AssetAlias("tailrace-gold-views")


def planned(context: Context) -> str:
    """The as-of time that the run has settled on."""
    as_of: str = context["ti"].xcom_pull(task_ids="as_of")
    return as_of


def of_views(context: Context) -> list[str]:
    """The views of one mapped task, or else those of the form."""
    views = getattr(context["task"], "views", None) or context["params"]["views"] or ()
    return [word for view in views for word in ("--view", view)]


def of_bronze(context: Context) -> list[str]:
    files = [word for file in context["params"]["set_aside"] or () for word in ("--set-aside", file)]
    return [*files, "--because", context["params"]["because"] or "no reason given"] if files else []


def of_gold(context: Context) -> list[str]:
    full = ["--full"] if context["params"]["full"] else []
    return ["--as-of", planned(context), *full, *of_views(context)]


def of_publish(context: Context) -> list[str]:
    reason = context["params"]["allow"]
    return [*(["--allow-large-change", reason] if reason else []), *of_views(context)]


def no_news(context: Context) -> str | None:
    loaded: dict[str, Any] = context["ti"].xcom_pull(task_ids="bronze.load")
    return "nothing landed that silver has not read" if loaded["all_read"] else None


@task(trigger_rule=WHERE_SILVER_WAS_SKIPPED_TOO)
def views_apart() -> list[list[str]]:
    """The views to refresh, in groups of which none needs another."""
    words = of_views(get_current_context())
    command = [sys.executable, application(), "features", "independent", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AirflowFailException(done.stderr or done.stdout)
    groups: list[list[str]] = json.loads(done.stdout.splitlines()[-1])["groups"]
    return groups


@task
def views_to_push(figures: Figures) -> list[list[str]]:
    """Each view that changed by itself, and all others together: their watermarks move without a value being written."""
    views = figures["views"]
    changed = [[name] for name, view in views.items() if view["changed"]]
    others = [name for name, view in views.items() if not view["changed"]]
    return [*changed, others] if others else changed


def together(parts: Iterable[Figures]) -> Figures:
    """The figures of mapped applications as those of one."""
    whole: dict[str, Any] = {"views": {}, "gates": {}, "words": [], "seconds": 0.0}
    for part in parts:
        if "stopped" in part:
            return part
        whole["views"] |= part["views"]
        whole["gates"] |= part["gates"]
        whole["words"] += part["words"]
        whole |= {"views_waiting": part["views_waiting"]} if "views_waiting" in part else {}
        whole["seconds"] = max(whole["seconds"], part["seconds"])
    return whole


def layer_asset(layer: str) -> Asset:
    """The asset that other DAGs are scheduled on; its events carry the layer's figures."""
    return Asset(name=f"tailrace-{layer}", uri=f"tailrace://{layer}", group="tailrace")


def view_asset(view: str) -> Asset:
    return Asset(name=f"tailrace-gold-{view}", uri=f"tailrace://gold/{view}", group="tailrace")


def quality_gate(layer: str, figures: Any) -> Any:
    """A task that fails with the gate's reason, or else logs the figures and marks what was brought forward.

    It also fails with the reasons of sources that are blocked, whose layer has brought forward all others. `figures` is what the layer's task returns, or its mapped tasks.
    """
    asset = layer_asset(layer)

    @task(task_id="quality_gate", outlets=[asset, VIEWS])
    def verdict(reported: Any) -> Figures:
        figures: Figures = reported if isinstance(reported, dict) else together(reported)
        if "stopped" in figures:
            raise AirflowFailException(figures["stopped"]["told"])
        if "blocked" in figures:
            raise AirflowFailException(blocked_words(figures["blocked"]))
        outlet_events = get_current_context()["outlet_events"]
        views = figures.get("views", {}) if layer == "gold" else {}
        outlet_events[asset].extra = {name: value for name, value in figures.items() if name != "words"}
        for view, found in views.items():
            outlet_events[VIEWS].add(view_asset(view), extra=found)
        for line in figures["words"]:
            log.info(line)
        return figures

    return verdict(figures)
