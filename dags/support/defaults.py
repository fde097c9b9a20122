"""What holds for the tasks of every DAG."""

from datetime import timedelta

from airflow.timetables.trigger import CronTriggerTimetable

from dags.support import alerts

# Retries are for outages; what another try would only repeat fails at once (dags/support/application.py).
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
