"""Every minute, where streaming is on: the stream is kept running, and an alert sent when it lags."""

import json
import logging
import subprocess
import sys

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowException

from tailrace.dags import alerts
from tailrace.dags.spark_operator import TASKS, application
from tailrace.settings import read_settings

log = logging.getLogger(__name__)

GRACE_SECONDS = 120  # in which a stream has started and caught up, on a busy machine too
ENABLED = read_settings().stream.enabled

DOC = f"""
### Keep the stream running

The stream is a process of its own, not a task: it brings events to the views of the lane `stream` within seconds. This DAG looks
at it every minute, where `TAILRACE_STREAMING` is 1, as `make up STREAMING=1` sets it; else it has no schedule.

| task | what it does |
|---|---|
| keep_running | starts the stream in the background where it does not run, on the machine of the task; the log says so |
| guard | fails where the stream lags behind the freshness that a view wants, looked at three times within a minute, or where keys are parked |

An alert is sent when one of them fails that did not fail the minute before, and not again until it was green. A stream that has
begun again has {GRACE_SECONDS} seconds to catch up, also where it ends and begins several times meanwhile.

**When keep_running is red**, the stream ended as soon as it began; the end of its log is in the task's.

**When guard is red**, its log says how far the stream is behind and what it last failed of. It begins again by itself when store
and Kafka are back. A definition that cannot be used has to be repaired, and so has a topic that was made anew. Where it only lags, more
comes than it takes: `tailrace stream status` shows the messages that are left. A parked key is one whose value the store refuses: make room in
its item, stop the stream, run `tailrace rebuild`, and start it again.

Owner: `search-ranking`
"""


@dag(
    schedule="* * * * *" if ENABLED else None,
    catchup=False,
    max_active_runs=1,
    tags=["tailrace"],
    doc_md=DOC,
    default_args=TASKS | {"retries": 2, "on_failure_callback": alerts.failed_anew},
)
def feature_stream() -> None:
    @task
    def keep_running() -> None:
        run_and_log("start")

    @task
    def guard() -> None:
        run_and_log("status", "--grace", str(GRACE_SECONDS))

    keep_running() >> guard()


def run_and_log(*words: str) -> None:
    """Run a command and log its answer; raises `AirflowException` with the reasons where it fails."""
    command = [sys.executable, application(), "stream", *words]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise AirflowException(f"`tailrace stream {words[0]}` answered nothing: {done.stderr[-2000:]}") from None
    if done.returncode:
        raise AirflowException("; ".join(answer.get("why") or [answer.get("error", done.stderr)]))
    log.info(answer.get("told") or json.dumps(answer))
