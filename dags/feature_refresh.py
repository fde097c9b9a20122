"""Every 15 minutes: what landed goes through bronze, silver and gold, and what changed goes to the online store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context, Param, TaskGroup, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.timetables.trigger import CronTriggerTimetable

from contracts.slots import AsOfError, last_tick, parse_as_of, to_text
from dags.support.application import TailraceOperator
from dags.support.deadline import deadline
from dags.support.defaults import TASKS
from dags.support.gate import layer_asset, quality_gate
from settings import read_settings

MINUTES = read_settings().schedule.refresh_minutes

DOC = """
### Refresh the features

Takes in what landed, brings every feature view to the as-of time, and pushes the values that changed.

| group | what it does | its quality gate |
|---|---|---|
| bronze | takes each landed file once; bad lines go to `bronze.quarantine` | stops a load that is broken as a whole, and names its files |
| silver | one row per event and per document; skipped where nothing landed | keys, nulls and checks of the contracts |
| gold | the views at the as-of time, from what changed | what each view promises |
| publish | writes what changed to the online store | the breaker: a change of most of a view waits for a reason |

**When a quality gate is red**, its log names the expectation, what was observed, some rows, and the files. Until then rankers
are served the values of before. Mend the files and land them again under the same name, or trigger this DAG with their
names under *Set files aside* and a reason: the rest goes on.

**When another task is red**, read its last lines. Tasks try again by themselves after outages. Any task may be run again, or
killed, at any time: the result is the same.

**When slots were missed**, nothing is to be done: the next run catches up in one step.

Owner: `search-ranking`
"""

PARAMS = {
    "as_of": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="As-of time",
        description="A quarter of an hour, UTC. Left empty: the last one.",
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
    return [word for view in context["params"]["views"] or () for word in ("--view", view)]


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


@dag(
    schedule=CronTriggerTimetable(f"*/{MINUTES} * * * *", timezone="UTC", interval=timedelta(minutes=MINUTES)),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    tags=["tailrace"],
    doc_md=DOC,
    deadline=deadline("feature_refresh"),
    default_args=TASKS,
)
def feature_refresh() -> None:
    @task
    def as_of() -> str:
        """Settle on the time that all of this run is for, retries included."""
        context = get_current_context()
        given, slot = context["params"]["as_of"], context["dag_run"].data_interval_end
        try:
            return to_text(parse_as_of(given) if given else last_tick(slot or datetime.now(UTC)))
        except AsOfError as error:
            raise AirflowFailException(str(error)) from error

    with TaskGroup("bronze") as bronze:
        load = TailraceOperator(task_id="load", command="run bronze", arguments=of_bronze)
        quality_gate("bronze", load.output)

    with TaskGroup("silver") as silver:
        merge = TailraceOperator(task_id="merge", command="run silver", skipped_by=no_news)
        quality_gate("silver", merge.output)

    with TaskGroup("gold") as gold:
        # Time alone changes gold, so that it runs where silver was skipped.
        refresh = TailraceOperator(task_id="refresh", command="run gold", arguments=of_gold, trigger_rule="none_failed")
        quality_gate("gold", refresh.output)

    publish = TailraceOperator(
        task_id="publish", command="run publish", arguments=of_publish, outlets=[layer_asset("store")]
    )
    as_of() >> bronze >> silver >> gold >> publish


feature_refresh()
