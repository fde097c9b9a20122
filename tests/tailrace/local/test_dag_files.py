"""The files for Airflow's DAG folder."""

import subprocess
import sys

from tailrace.local.airflow import dag_files
from tailrace.settings import CHECKOUT


def test_the_dag_folder_of_this_checkout_holds_the_files_that_a_user_gets():
    here = {path.name: path.read_text() for path in (CHECKOUT / "dags").glob("*.py")}

    assert here == dag_files()


def test_write_dags_replaces_its_own_files_and_keeps_those_of_others(tmp_path):
    tmp_path.joinpath("feature_refresh.py").write_text("old = True\n")
    tmp_path.joinpath("ours.py").write_text("kept = True\n")

    command = [sys.executable, "-m", "tailrace", "airflow", "write-dags", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)

    assert {path.name: path.read_text() for path in tmp_path.glob("*.py")} == dag_files() | {"ours.py": "kept = True\n"}
