"""Every 15 minutes: what landed goes through bronze, silver and gold, and what changed goes to the online store."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import TaskGroup, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.timetables.trigger import CronTriggerTimetable

from tailrace.dags.refresh_tasks import (
    PARAMS,
    WHERE_SILVER_WAS_SKIPPED_TOO,
    layer_asset,
    no_news,
    of_bronze,
    of_gold,
    of_publish,
    quality_gate,
    views_apart,
    views_to_push,
)
from tailrace.dags.spark_operator import TASKS, deadline, spark_task
from tailrace.schemas.slots import AsOfError, check_within_reach, last_tick, parse_as_of, to_text
from tailrace.settings import read_settings

MINUTES = read_settings().schedule.refresh_minutes
PER_VIEW = read_settings().schedule.application_per == "view"

DOC = """
### Refresh the features

Takes in what landed, brings every feature view to the as-of time, and pushes the values that changed.

| group | what it does | its quality gate |
|---|---|---|
| bronze | takes each landed file once; bad lines go to `bronze.quarantine` | names each source that is blocked, and the files of a load that is broken as a whole |
| silver | one row per event and per document; skipped where nothing landed | keys, nulls and checks of the contracts, source by source |
| gold | the views at the as-of time, from what changed | what each view promises |
| publish | writes what changed to the online store | the breaker: a change of most of a view waits for a reason |

**When the gate of bronze or silver is red**, its log names each source that is blocked and why: the expectation, what was
observed, some rows, and the files; or a declaration, a topic or a folder. The views of that source keep their values and their
as-of time. All other sources and views were refreshed and pushed. Repair the files and land them again under the same name, or
trigger this DAG with their names under *Set files aside* and a reason. The next run catches up by itself.

**When the gate of gold is red**, nothing was pushed, and rankers are served the values of before.

**When another task is red**, read its last lines. Tasks try again by themselves after outages. Any task may be run again, or
killed, at any time: the result is the same.

**When runs were missed**, nothing is to be done: the next run catches up in one step.

Owner: `search-ranking`
"""


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
        given, end = context["params"]["as_of"], context["dag_run"].data_interval_end
        now = datetime.now(UTC)
        try:
            chosen = parse_as_of(given) if given else last_tick(end or now)
            check_within_reach(chosen, now=now)
        except AsOfError as error:
            raise AirflowFailException(str(error)) from error
        return to_text(chosen)

    with TaskGroup("bronze"):
        load = spark_task(task_id="load", command="run bronze", arguments=of_bronze)
        quality_gate("bronze", load.output)

    with TaskGroup("silver"):
        merge = spark_task(task_id="merge", command="run silver", skipped_by=no_news)
        quality_gate("silver", merge.output)

    with TaskGroup("gold") as gold:
        refresh = spark_task(
            task_id="refresh",
            command="run gold",
            arguments=of_gold,
            trigger_rule=WHERE_SILVER_WAS_SKIPPED_TOO,  # time by itself changes gold
            over=views_apart() if PER_VIEW else None,
        )
        brought = quality_gate("gold", refresh.output)

    publish = spark_task(
        task_id="publish",
        command="run publish",
        arguments=of_publish,
        outlets=[layer_asset("store")],
        over=views_to_push(brought) if PER_VIEW else None,
    )
    # A source that a gate is red for waits by itself: the other sources go on, whatever the gates say.
    as_of() >> load >> merge >> gold >> publish
