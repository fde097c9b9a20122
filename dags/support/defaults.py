"""What holds for the tasks of every DAG."""

from datetime import timedelta

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
