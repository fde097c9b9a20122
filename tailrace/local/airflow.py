"""Airflow for local use: its settings, its processes, its health."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tailrace.extras import require
from tailrace.local.dag_files import write_dag_files
from tailrace.local.service import LocalError, Service, places_of
from tailrace.settings import CHECKOUT, Settings, in_checkout
from tailrace.store.embedded import DIRECT, HOST

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
    """What every process of Airflow is given, the command line too. A Spark connection of the caller's is kept."""
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


def services(settings: Settings, run_folder: Path) -> list[Service]:
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


def health(settings: Settings) -> dict[str, str]:
    """What Airflow says of itself, by service; empty where it does not answer."""
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
    """What the user logs in with, made by Airflow when it first starts."""
    try:
        return str(json.loads(passwords(settings).read_text())[USER])
    except (FileNotFoundError, KeyError):
        return None
