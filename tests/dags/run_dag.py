"""Run a DAG once with real tasks, given its name and its trigger form as JSON, and print how each task ended."""

import json
import os
import sys

from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

name, form = sys.argv[1:]
initdb()
dag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags[name]
run = dag.test(run_conf=json.loads(form))
tasks = run.get_task_instances()
print(json.dumps({"state": str(run.state), "tasks": {task.task_id: str(task.state) for task in tasks}}))
