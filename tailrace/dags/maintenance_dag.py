"""Every night: small files are rewritten, and what no table, view or cursor needs any more is removed."""

from airflow.sdk import dag

from tailrace.dags.spark_operator import TASKS, daily, spark_task

DOC = """
### Maintain the tables

Rewrites small files and removes what nobody needs any more, with the tombstones of keys that went long ago. What a view or the
online store's cursor still needs stays, and the log says who holds a table.

**When it is red**, the log says of which table and why. No table is worse for it, and what was due is due again tomorrow. It may
be run at any time, and during a refresh: of a refresh and a compaction that meet in one table, one has to run again.

Owner: `search-ranking`
"""


@dag(
    schedule=daily("17 3 * * *"),
    catchup=False,
    max_active_runs=1,
    tags=["tailrace"],
    doc_md=DOC,
    default_args=TASKS,
)
def feature_maintenance() -> None:
    spark_task(task_id="maintain", command="maintain")
