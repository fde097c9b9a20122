"""A command of Tailrace as a Spark application of its own, and the retries, alerts and schedules that all DAGs share."""

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Context, XComArg
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.timetables.trigger import CronTriggerTimetable

from tailrace.dags import alerts
from tailrace.settings import Settings, read_settings, submit_options

# Retries are for outages; what another try would only repeat fails at once (`exception_for`).
TASKS = {
    "owner": "search-ranking",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=5),
    "on_failure_callback": alerts.failed,
}

Figures = dict[str, Any]


def daily(cron: str) -> CronTriggerTimetable:
    """A schedule whose first run comes at its next time, rather than when the DAG is first seen."""
    return CronTriggerTimetable(cron, timezone="UTC", run_immediately=timedelta(0))


def deadline(dag: str) -> DeadlineAlert | None:
    """An alert for a run that is not done so many minutes after it was queued; None if the setting is 0."""
    minutes = read_settings().schedule.deadline_minutes
    if not minutes:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=minutes),
        callback=SyncCallback(alerts.late, kwargs={"dag": dag, "minutes": minutes}),
    )


def no_arguments(_: Context) -> list[str]:
    return []


class TailraceOperator(SparkSubmitOperator):
    """Run a command such as `run gold` by spark-submit; its figures are what the task returns.

    `arguments` gives further arguments for a run, `skipped_by` the reason not to run at all, if any; `views` is for a
    task that is mapped over views.
    """

    def __init__(
        self,
        *,
        command: str,
        arguments: Callable[[Context], list[str]] = no_arguments,
        skipped_by: Callable[[Context], str | None] = lambda _: None,
        views: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        spark = read_settings().spark
        options = submit_options(spark)
        super().__init__(
            application=application(),
            name=f"tailrace-{command.replace(' ', '-')}",
            jars=options.pop("spark.jars"),
            driver_memory=options.pop("spark.driver.memory"),
            conf=options | {"spark.log.level": "WARN"},  # of Spark's own lines; those of the application stay
            durable=False,  # a retry runs again; the report of a try is its own
            env_vars={
                "PYSPARK_PYTHON": sys.executable,
                "PYSPARK_DRIVER_PYTHON": sys.executable,
                "LC_ALL": "C.UTF-8",  # by which Java opens files
            },
            **kwargs,
        )
        self.command = command
        self.arguments = arguments
        self.skipped_by = skipped_by
        self.views = views

    def execute(self, context: Context) -> Figures:  # type: ignore[override]  # theirs returns nothing
        """Submit, and log the figures in words at the end of the log."""
        why = self.skipped_by(context)
        if why:
            raise AirflowSkipException(why)
        report = report_file(read_settings(), context)
        self.application_args = [*self.command.split(), *self.arguments(context), "--report", str(report)]
        report.unlink(missing_ok=True)
        began = time.monotonic()
        try:
            super().execute(context)
        except (AirflowException, RuntimeError) as failure:
            error = read_report(report).get("error")
            if error is None:
                raise
            raise exception_for(error) from failure
        figures = read_report(report)
        if not figures:
            raise AirflowException(f"{self.command} ended well and left no report in {report}; see docs/airflow.md")
        if is_worth_another_try(figures, context["ti"]):
            raise AirflowException(blocked_words(figures["blocked"]))
        seconds = time.monotonic() - began
        for line in figures["words"]:
            self.log.info(line)
        self.log.info(
            "%.1f s, of which the start of the application took %.1f s", seconds, seconds - figures["seconds"]
        )
        return figures


def spark_task(*, over: XComArg | None = None, **task: Any) -> TailraceOperator | MappedOperator:
    """A `TailraceOperator`, or one for each list of views that `over` returns."""
    return TailraceOperator(**task) if over is None else TailraceOperator.partial(**task).expand(views=over)


def exception_for(error: Figures) -> AirflowException:
    """The exception of a task whose application reported an error: Airflow retries it only where that may help."""
    kind = AirflowException if error["retryable"] else AirflowFailException
    return kind(error["told"])


def is_worth_another_try(figures: Figures, ti: Any) -> bool:
    """Whether a source is blocked by what may pass by itself, and the task has tries left; after the last, others go on."""
    passing = any(one["retryable"] for one in figures.get("blocked", {}).values())
    return passing and bool(ti.try_number <= ti.max_tries)


def blocked_words(blocked: Figures) -> str:
    """The reasons of blocked sources, a paragraph each."""
    return "\n".join(f"source {name} is blocked: {one['why']}" for name, one in blocked.items())


def application() -> str:
    """The file that spark-submit runs."""
    spec = find_spec("tailrace.application.__main__")
    if spec is None or spec.origin is None:
        raise AirflowException("Tailrace is not installed in Airflow's environment; see docs/airflow.md")
    return spec.origin


def report_file(settings: Settings, context: Context) -> Path:
    """Where one try of a task writes its report."""
    task = context["ti"]
    words = (task.dag_id, task.run_id, task.task_id, task.map_index, task.try_number)
    *folders, name = (re.sub(r"[^\w.-]", "_", str(word)) for word in words)
    return settings.home.joinpath("reports", *folders, f"{name}.json")


def read_report(path: Path) -> Figures:
    """The report of an application; empty if it ended before it could write one."""
    try:
        report: Figures = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return report
