"""When it is asked for: values that views would have had at past times go into their history."""

from airflow.sdk import Context, Param, dag

from tailrace.dags.refresh_tasks import of_views
from tailrace.dags.spark_operator import TASKS, spark_task

DOC = """
### Compute past values

Computes feature views at each as-of time of a range, and records in `history.<view>` what a push would have written then, marked
as backfill. Gold and the online store stay as they are. It may run at any time, during refreshes too. What it knows is
what silver knows now: events that came late are in.

**When it is red**, read the last lines of its log. A range that cannot be computed is said to be so, with what to do; after
anything else clear the task: it goes on after the last time that it has recorded.

Owner: `search-ranking`
"""


def of_range(context: Context) -> list[str]:
    form, run_id = context["params"], context["run_id"]
    words = ["--from", form["from"], "--to", form["to"], "--every", str(form["every"]), "--id", run_id]
    return [*words, *of_views(context)]


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params={
        "from": Param(
            type="string",
            format="date-time",
            title="From",
            description="The first as-of time: a quarter of an hour, UTC.",
        ),
        "to": Param(type="string", format="date-time", title="To", description="The last as-of time."),
        "every": Param(
            15,
            type="integer",
            minimum=15,
            multipleOf=15,
            title="Every",
            description="Minutes from one as-of time to the next; a multiple of 15.",
        ),
        "views": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Views",
            description="Left empty: all that have past values.",
        ),
    },
    tags=["tailrace"],
    doc_md=DOC,
    default_args=TASKS,
)
def feature_backfill() -> None:
    spark_task(task_id="backfill", command="backfill", arguments=of_range)
