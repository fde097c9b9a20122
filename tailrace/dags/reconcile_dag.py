"""Every day: gold and the online store are compared key by key."""

from airflow.sdk import Context, Param, dag

from tailrace.dags.spark_operator import TASKS, daily, spark_task

DOC = """
### Compare gold and the online store

Reads every row of gold and every value in the store, and counts what is missing, left over, or different. It works while
refreshes go on.

**When it is red**, the two differ, and the log says in which views. Trigger it again with *Repair*: it pushes, and then writes
what still differs as gold has it, by the same conditional writes as every push. It is green where all was repaired.

Owner: `search-ranking`
"""


def repair(context: Context) -> list[str]:
    return ["--repair"] if context["params"]["repair"] else []


@dag(
    schedule=daily("47 4 * * *"),
    catchup=False,
    max_active_runs=1,
    params={
        "repair": Param(
            False, type="boolean", title="Repair", description="Push, then write what still differs as gold has it."
        )
    },
    tags=["tailrace"],
    doc_md=DOC,
    default_args=TASKS,
)
def feature_reconcile() -> None:
    spark_task(task_id="reconcile", command="reconcile", arguments=repair)
