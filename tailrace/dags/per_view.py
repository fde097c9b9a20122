"""Gold and the push mapped over views, an application each, where `TAILRACE_APPLICATION_PER` asks for that."""

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from tailrace.dags.refresh_form import of_views
from tailrace.dags.spark_operator import Figures, application

WHERE_SILVER_WAS_SKIPPED_TOO = "none_failed"


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
    told: dict[str, Any] = {"views": {}, "gates": {}, "words": [], "seconds": 0.0}
    for part in parts:
        if "stopped" in part:
            return part
        told["views"] |= part["views"]
        told["gates"] |= part["gates"]
        told["words"] += part["words"]
        told["seconds"] = max(told["seconds"], part["seconds"])
    return told
