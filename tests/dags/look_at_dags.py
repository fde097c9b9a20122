"""Load the DAG folder as Airflow's processor does, once for each set of environment variables that is given as JSON, by name.

Print what is in it, by the same names. Airflow is imported once; each load is a fork, so that nothing of ours is loaded twice.
"""

import json
import multiprocessing
import os
import sys
from types import SimpleNamespace

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

HEAVY = ("pyspark", "delta", "great_expectations", "pandas", "jobs", "sinks", "serving", "features")
HEAVY_PARTS = ("tailrace.lake", "tailrace.store", "tailrace.definitions", "tailrace.workspace", "tailrace.shipped")

TIMES = (None, "2026-03-10T12:00:00Z", "2962-03-10T12:00:00Z", "1899-12-31T23:45:00Z", "2026-03-10T12:01:00Z")


def shown(param):
    return {**param.schema, "description": param.description}


def described(dag):
    return {
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


def settled(dag, given):
    """The as-of time that a run of the refresh settles on where this is given, or why it refuses."""
    settle = dag.get_task("as_of").python_callable
    context = {"params": {"as_of": given}, "dag_run": SimpleNamespace(data_interval_end=None)}
    settle.__globals__["get_current_context"] = lambda: context
    try:
        return settle()
    except AirflowFailException as refusal:
        return f"refused: {refusal}"


def raised_for(retryable):
    """What a task raises whose application reports an error that may be retried or not."""
    from tailrace.dags.spark_operator import exception_for  # in the fork alone

    return type(exception_for({"kind": "AnyError", "told": "why", "retryable": retryable})).__name__


def tried_again():
    """Whether a layer is tried again for a source that is blocked: in the first and the last try, for what stays, and for nothing."""
    from tailrace.dags.spark_operator import is_worth_another_try  # in the fork alone

    first, last = (SimpleNamespace(try_number=number, max_tries=3) for number in (1, 4))
    passes, stays = ({"blocked": {"clicks": {"why": "away", "retryable": one}}} for one in (True, False))
    return [is_worth_another_try(*one) for one in ((passes, first), (passes, last), (stays, first), ({}, first))]


def look(variables):
    """What is in the folder, as JSON: values that a schema may have are not all picklable."""
    os.environ.update(variables)
    bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    found = {
        "errors": bag.import_errors,
        "heavy": [name for name in (*HEAVY, *HEAVY_PARTS) if name in sys.modules],
        "dags": {name: described(dag) for name, dag in bag.dags.items()},
        "raised": [raised_for(retryable) for retryable in (True, False)],
        "tried again": tried_again(),
        "settled": [settled(bag.dags["feature_refresh"], given) for given in TIMES],
    }
    return json.dumps(found, default=str)


def main():
    by_name = json.loads(sys.argv[1])
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as forks:
        found = forks.map(look, by_name.values(), chunksize=1)
        forks.close()
        forks.join()  # what they logged comes before the result
    print(json.dumps(dict(zip(by_name, map(json.loads, found), strict=True))))


if __name__ == "__main__":
    main()
