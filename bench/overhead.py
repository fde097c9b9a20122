"""The costs of the quality gate and of Airflow to a refresh, measured by turns with and without them."""

import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.week import places, ticks_of_week
from tailrace.demo.events import demo_ticks, empty_home, land_tick
from tailrace.lake.task_progress import Progress
from tailrace.local import airflow, stack
from tailrace.local.airflow import AirflowApi
from tailrace.local.background import LocalError, places_of
from tailrace.settings import LocalSettings, Settings
from tailrace.store.embedded import HOST
from tailrace.workspace.refresh import refresh
from tailrace.workspace.workspace import Workspace

WARMING = 4  # refreshes before the first that is counted

Json = dict[str, Any]

DAG = "feature_refresh"
RUN_SECONDS = 900.0
PARSE_SECONDS = 120.0


def run_gates(settings: Settings, *, refreshes: int, progress: Progress) -> Json:
    """Seconds of refreshes in which rows changed, with the gate and without, and of the gate's own work, in one session."""
    workspace = Workspace(settings=replace(settings, home=settings.home / "gates", **places(settings.home / "gates")))
    empty_home(workspace.settings)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    own: list[float] = []
    rows = 0
    for number, tick in enumerate(ticks_of_week(WARMING + refreshes)):
        land_tick(tick, Path(workspace.settings.landing))
        progress(f"refresh {number}")
        with_gate = number % 2 == 0
        workspace.lake.gate = workspace.gate if with_gate else None
        done = refresh(workspace, as_of=tick.as_of)
        if number > WARMING and tick.events:
            seconds[with_gate].append(done.seconds)
            if with_gate:
                own.append(sum(found.seconds for found in done.gates.values()))
                rows += sum(found.rows for found in done.gates.values())
    medians = {with_gate: round(statistics.median(some), 2) for with_gate, some in seconds.items()}
    return {
        "refreshes_with": len(seconds[True]),
        "refreshes_without": len(seconds[False]),
        "rows_judged": rows,
        "seconds_with": medians[True],
        "seconds_without": medians[False],
        "gate_seconds": round(statistics.median(own), 2),
        "share": round(statistics.median(own) / medians[True], 3),
    }


def run_airflow(settings: Settings, *, refreshes: int, progress: Progress) -> Json:
    """Seconds of refreshes for which nothing landed: through Airflow, task by task, and as one command."""
    here = settings.home / "airflow-bench"
    ports = LocalSettings(airflow_port=free_port(), reader_port=free_port(), reader_workers=1)
    hourly = replace(settings.schedule, refresh_minutes=60)  # hardly any tick comes between
    home = replace(settings, home=here, local=ports, schedule=hourly, **places(here))
    empty_home(home)
    for tick in demo_ticks(git=None, events=None)[1]:
        land_tick(tick, Path(home.landing))
    stack.up(home, progress)
    try:
        return measured(home, refreshes=refreshes, progress=progress)
    finally:
        stack.down(home, progress)


def measured(home: Settings, *, refreshes: int, progress: Progress) -> Json:
    api = AirflowApi(airflow.url(home), user=airflow.USER, password=airflow.password(home) or "")
    api.wait_until_known(DAG, seconds=PARSE_SECONDS)
    progress("first load")
    lasted(api.wait(DAG, api.trigger(DAG, {}), seconds=RUN_SECONDS))
    seconds: dict[str, list[float]] = {"airflow": [], "command": []}
    tasks: dict[str, list[float]] = {}
    for number in range(refreshes):
        progress(f"quiet refresh {number + 1} of {refreshes}")
        run = api.trigger(DAG, {})
        seconds["airflow"].append(lasted(api.wait(DAG, run, seconds=RUN_SECONDS)))
        for name, task in api.tasks(DAG, run).items():
            tasks.setdefault(name, []).append(task["duration"] or 0.0)
        seconds["command"].append(seconds_of_command(home))
    medians = {name: round(statistics.median(some), 1) for name, some in seconds.items()}
    return {
        "refreshes": refreshes,
        "quiet_seconds": medians["airflow"],
        "command_seconds": medians["command"],
        "ratio_to_command": round(medians["airflow"] / medians["command"], 2),
        "task_seconds": {name: round(statistics.median(some), 1) for name, some in tasks.items()},
    }


def seconds_of_command(home: Settings) -> float:
    """The same refresh as one command, from its start to its end."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tailrace", "refresh"]
    subprocess.run(command, env=os.environ | places_of(home), check=True, capture_output=True)
    return time.monotonic() - began


def lasted(run: Json) -> float:
    """Seconds of a run from its start to its end; raises `LocalError` if it did not end well."""
    if run["state"] != "success":
        raise LocalError(f"run {run['dag_run_id']} ended as {run['state']}; see its log")
    began, ended = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return (ended - began).total_seconds()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
