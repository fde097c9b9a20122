"""Airflow in a process of its own, with a home and a database of its own and nothing but our DAG folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SPARK = {"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client", "spark-binary": "spark-submit"}}


class Airflow:
    """Runs scripts that lie beside this file; each prints one JSON object as its last line."""

    def __init__(self, home, **variables):
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environment = os.environ | {
            "PATH": path,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE.parents[1] / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(SPARK),
            **variables,
        }

    def run(self, script, *arguments):
        command = [sys.executable, str(HERE / script), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, cwd=HERE)
        if done.returncode:
            pytest.fail(f"{script} ended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.fixture(scope="session")
def airflow(tmp_path_factory):
    """Make an Airflow whose processes have these environment variables as well."""
    return lambda **variables: Airflow(tmp_path_factory.mktemp("airflow"), **variables)
