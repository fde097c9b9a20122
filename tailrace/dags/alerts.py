"""Alerts of refreshes that fail or are late: a log line, and whatever `TAILRACE_ALERTS` names.

Airflow keeps these functions in its database by their dotted names, so they stay in this module.
"""

import logging
from importlib import import_module
from typing import Any

from tailrace.settings import read_settings

log = logging.getLogger(__name__)


def failed(context: Any) -> None:
    """Airflow's callback for a task that failed for good."""
    task = context["ti"]
    send(f"{task.dag_id}.{task.task_id} failed in run {task.run_id}: {context.get('exception')}")


def failed_anew(context: Any) -> None:
    """Airflow's callback for a task that looks at the same thing again and again: an alert when it goes wrong, not each time."""
    before = context["ti"].get_previous_ti()
    if before is None or before.state != "failed":
        failed(context)


def late(dag: str, minutes: float) -> None:
    """Airflow's callback for a run that took longer than it may."""
    send(f"{dag} is late: a run was not done after {minutes:g} minutes")


def send(text: str) -> None:
    """Log an alert, and hand it to the function that `TAILRACE_ALERTS` names as `module:function`."""
    log.error("alert: %s", text)
    hook = read_settings().schedule.alerts
    if hook:
        module, _, function = hook.partition(":")
        getattr(import_module(module), function)(text)
