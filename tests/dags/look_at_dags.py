"""Load the DAG folder as Airflow's processor does, and print what is in it."""

import json
import os
import sys

from airflow.dag_processing.dagbag import DagBag

HEAVY = ("pyspark", "delta", "great_expectations", "pandas", "lake", "jobs", "sinks", "online", "features")


def shown(param):
    return {**param.schema, "description": param.description}


bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
print(
    json.dumps(
        {
            "errors": bag.import_errors,
            "heavy": [name for name in HEAVY if name in sys.modules],
            "dags": {
                name: {
                    "schedule": getattr(dag.timetable, "summary", dag.schedule),
                    "catchup": dag.catchup,
                    "max_active_runs": dag.max_active_runs,
                    "doc": dag.doc_md or "",
                    "params": {key: shown(dag.params.get_param(key)) for key in dag.params},
                    "late": dag.deadline is not None,
                    "tasks": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
                    "mapped": [task.task_id for task in dag.tasks if task.is_mapped],
                    "owners": sorted({task.owner for task in dag.tasks}),
                }
                for name, dag in bag.dags.items()
            },
        },
        default=str,
    )
)
