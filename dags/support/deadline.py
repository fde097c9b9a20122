"""When a run counts as late."""

from datetime import timedelta

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from dags.support import alerts
from tailrace.settings import read_settings


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
