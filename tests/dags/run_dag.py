"""Run DAGs once, one after the other, with real tasks, given as JSON: their names and trigger forms. Print how each task ended, by DAG, one
state for each of its mapped ones.
"""

import json
import os
import sys
from collections import defaultdict

from airflow.dag_processing.dagbag import DagBag
from airflow.utils.db import initdb

initdb()
bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
ended = {}
for name, form in json.loads(sys.argv[1]).items():
    states = defaultdict(list)
    for task in bag.dags[name].test(run_conf=form).get_task_instances():
        states[task.task_id].append(str(task.state))
    ended[name] = states
print(json.dumps(ended))
