"""Airflow for local use: its settings, DAG files, processes and health, and its REST interface."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from tailrace.extras import require
from tailrace.local.background import LocalError, Service, places_of
from tailrace.settings import CHECKOUT, Settings, in_checkout
from tailrace.store.embedded import DIRECT, HOST

# Of each DAG, by its id: the module of `tailrace.dags` that has it, and what it is for.
DAGS = {
    "feature_backfill": ("backfill_dag", "On request: compute the values of past times."),
    "feature_maintenance": ("maintenance_dag", "Every night: compact tables and remove old versions."),
    "feature_reconcile": ("reconcile_dag", "Every day: compare gold and the online store, key by key."),
    "feature_refresh": ("refresh_dag", "Every 15 minutes: load, compute, and push the values that changed."),
    "feature_stream": ("stream_dag", "Every minute: keep the stream running, and report when it lags."),
}

# Airflow opens only files in which the words "dag" and "airflow" occur.
TEMPLATE = '''"""{purpose} Airflow finds the DAG in this file."""

from tailrace.dags.{module} import {name}

{name}()
'''

SPARK = {"conn_type": "spark", "host": "local[*]", "extra": {"deploy-mode": "client", "spark-binary": "spark-submit"}}
USER = "admin"

# In the order in which they start. The scheduler comes last: it needs the API to be there.
API_SERVER, DAG_PROCESSOR, TRIGGERER, SCHEDULER = "api-server", "dag-processor", "triggerer", "scheduler"
COMMANDS = {
    API_SERVER: (API_SERVER,),
    DAG_PROCESSOR: (DAG_PROCESSOR,),
    TRIGGERER: (TRIGGERER, "--skip-serve-logs"),
    SCHEDULER: (SCHEDULER, "--skip-serve-logs"),
}

STOP_SECONDS = 20.0
HEALTH_SECONDS = 20.0  # a machine that starts Spark is slow to answer
DRAIN_SECONDS = 300.0  # a scheduler ends when its running tasks have

Json = dict[str, Any]

ENDED = ("success", "failed")
ASK_SECONDS = 30.0
LOOK_SECONDS = 0.5


def dag_files() -> dict[str, str]:
    """Return the text of each file, by its name."""
    return {
        f"{name}.py": TEMPLATE.format(name=name, module=module, purpose=purpose)
        for name, (module, purpose) in DAGS.items()
    }


def write_dag_files(folder: Path) -> list[Path]:
    """Write the files into `folder`, over those of an earlier version; other files there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in dag_files().items():
        path = folder / name
        path.write_text(text)
        written.append(path)
    return written


def url(settings: Settings) -> str:
    return f"http://{HOST}:{settings.local.airflow_port}"


def folder(settings: Settings) -> Path:
    """Airflow's own home; it holds secrets and logs."""
    return settings.home / "airflow"


def dags_folder(settings: Settings) -> Path:
    """The DAG folder: the checkout's, or else `dags` where the command runs, or else one written into the home."""
    for place in (CHECKOUT / "dags" if in_checkout() else None, Path("dags").absolute()):
        if place is not None and place.is_dir():
            return place
    written = folder(settings) / "dags"
    write_dag_files(written)
    return written


def environment(settings: Settings) -> dict[str, str]:
    """The environment of every process of Airflow, the command line too. A Spark connection of the caller's is kept."""
    require("airflow")
    home = folder(settings)
    ours = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url(settings),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(settings.local.airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder(settings)),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url(settings)}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords(settings)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "TAILRACE_REFRESH_MINUTES": str(settings.schedule.refresh_minutes),
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), HOST))),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
    }
    return {"AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(SPARK)} | os.environ | places_of(settings) | ours


def airflow_services(settings: Settings, run_folder: Path) -> list[Service]:
    return [
        Service(
            name=name,
            command=(sys.executable, "-m", "airflow", *words),
            environment=environment(settings),
            folder=run_folder,
            stop_seconds=DRAIN_SECONDS if name == SCHEDULER else STOP_SECONDS,
        )
        for name, words in COMMANDS.items()
    ]


def migrate(settings: Settings) -> None:
    """Make Airflow's database, or bring it to the installed version; the first time its secrets are made too."""
    command = (sys.executable, "-m", "airflow", "db", "migrate")
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalError(f"Airflow's database in {folder(settings)} could not be made:\n{done.stdout}{done.stderr}")


def airflow_health(settings: Settings) -> dict[str, str]:
    """The health of Airflow by service; empty if it does not answer."""
    try:
        with DIRECT.open(f"{url(settings)}/api/v2/monitor/health", timeout=HEALTH_SECONDS) as answer:
            answered = json.load(answer)
    except (OSError, ValueError):
        return {}
    parts = {API_SERVER: "metadatabase"} | {name: name.replace("-", "_") for name in COMMANDS if name != API_SERVER}
    return {name: (answered.get(part) or {}).get("status") or "unknown" for name, part in parts.items()}


def passwords(settings: Settings) -> Path:
    return folder(settings) / "passwords.json"


def password(settings: Settings) -> str | None:
    """The user's password, made by Airflow when it first starts."""
    try:
        return str(json.loads(passwords(settings).read_text())[USER])
    except (FileNotFoundError, KeyError):
        return None


class AirflowApi:
    """Asks one Airflow as one user, who logs in with the first question."""

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.url = url
        self._log_in = {"username": user, "password": password}
        self._token: str | None = None

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        if self._token is None:
            self._token = self._send("POST", "/auth/token", self._log_in)["access_token"]
        return self._send(method, f"/api/v2/dags/{path}", body)

    def _send(self, method: str, path: str, body: Json | None) -> Json:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        with DIRECT.open(request, timeout=ASK_SECONDS) as answer:
            answered: Json = json.load(answer)
        return answered

    def wait_until_known(self, dag: str, *, seconds: float) -> None:
        """Wait for an Airflow that has just started to read a DAG; raises `LocalError` if it has not by then."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask("GET", dag)
            except HTTPError as error:
                if error.code != HTTPStatus.NOT_FOUND:
                    raise
            else:
                return
            if time.monotonic() > deadline:
                raise LocalError(
                    f"Airflow at {self.url} knows no DAG {dag} after {seconds:g} s; see its dag-processor.log"
                )
            time.sleep(LOOK_SECONDS)

    def runs(self, dag: str, kind: str) -> list[Json]:
        """The runs that were started in one way, `scheduled` or `manual`, oldest first."""
        runs: list[Json] = self.ask("GET", f"{dag}/dagRuns?run_type={kind}&order_by=run_after")["dag_runs"]
        return runs

    def trigger(self, dag: str, form: Json) -> str:
        """Start a run; returns its id."""
        return str(self.ask("POST", f"{dag}/dagRuns", {"logical_date": None, "conf": form})["dag_run_id"])

    def wait(self, dag: str, run: str, *, seconds: float) -> Json:
        """The run, once it has ended; raises `LocalError` if it has not after so many seconds."""
        deadline = time.monotonic() + seconds
        while (found := self.ask("GET", f"{dag}/dagRuns/{quote(run)}"))["state"] not in ENDED:
            if time.monotonic() > deadline:
                raise LocalError(f"{dag}: run {run} is {found['state']} after {seconds:g} s")
            time.sleep(LOOK_SECONDS)
        return found

    def tasks(self, dag: str, run: str) -> dict[str, Json]:
        """The tasks of a run, by id."""
        answered = self.ask("GET", f"{dag}/dagRuns/{quote(run)}/taskInstances")
        return {task["task_id"]: task for task in answered["task_instances"]}
