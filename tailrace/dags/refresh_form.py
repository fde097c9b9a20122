"""The trigger form of a refresh, and what it makes of each layer's command."""

from typing import Any

from airflow.sdk import Context, Param

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
    loaded: dict[str, Any] = context["ti"].xcom_pull(task_ids="bronze.quality_gate")
    return "nothing landed that silver has not read" if loaded["all_read"] else None
