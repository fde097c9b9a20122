"""Run a DAG once with real tasks, given its name and its trigger form as JSON, and print how each task ended, one state for each of its mapped ones."""

import json
import os
import sys
from collections import defaultdict

from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

name, form = sys.argv[1:]
initdb()
dag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags[name]
run = dag.test(run_conf=json.loads(form))
states = defaultdict(list)
for task in run.get_task_instances():
    states[task.task_id].append(str(task.state))
print(json.dumps({"state": str(run.state), "tasks": states}))
