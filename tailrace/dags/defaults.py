"""Retries, alerts, schedules and deadlines that DAGs share."""

from datetime import timedelta

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.timetables.trigger import CronTriggerTimetable

from tailrace.dags import alerts
from tailrace.settings import read_settings

# Retries are for outages; what another try would only repeat fails at once (tailrace/dags/spark_operator.py).
TASKS = {
    "owner": "search-ranking",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "on_failure_callback": alerts.failed,
}


def daily(cron: str) -> CronTriggerTimetable:
    """A schedule whose first run comes at its next time, rather than when the DAG is first seen."""
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))


def deadline(dag: str) -> DeadlineAlert | None:
    """An alert for a run that is not done so many minutes after it was queued; None where the setting is 0."""
    minutes = read_settings().schedule.deadline_minutes
    if not minutes:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=minutes),
        callback=SyncCallback(alerts.late, kwargs={"dag": dag, "minutes": minutes}),
    )
