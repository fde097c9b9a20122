"""`tailrace bench`: measurements against the naive way, on this machine."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tailrace.cli.output import AsJson, plain_table, progress, show
from tailrace.errors import CommandError
from tailrace.settings import Settings, in_checkout, read_settings
from tailrace.workspace.resources import for_many_rows

app = typer.Typer(no_args_is_help=True, help="Measure against the naive way, on this machine.")

FACTORS = (1, 2, 4, 8)
ROWS_PER_DOCUMENT = 4  # gold rows of all shipped views


@app.callback()
def bench() -> None:
    """Measure against the naive way, on this machine."""
    if not in_checkout():
        raise CommandError(
            "`tailrace bench` measures with code and packages that only a checkout of the repository has"
        )


@app.command()
def refresh(
    documents: Annotated[int, typer.Option(min=1, help="About a quarter of the gold rows.")] = 250_000,
    changed: Annotated[float, typer.Option(min=0.0, max=1.0, help="The fraction of gold rows that changes.")] = 0.01,
    series: Annotated[
        bool, typer.Option("--sweep", help="At 1, 2, 4 and 8 times the documents, as many rows changing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Refresh and push the changes, compared with computing, overwriting and pushing everything."""
    rows = round(documents * ROWS_PER_DOCUMENT * changed)
    if rows < 1:
        raise CommandError(f"--changed {changed} of {documents} documents is less than one row; give more of either")
    settings = read_settings()
    with progress("bench") as step:
        runs = [run(settings, documents * factor, rows, step) for factor in (FACTORS if series else (1,))]
    shown: dict[str, Any] = {"sweep": runs, "growth": growth(runs)} if series else runs[0]
    show(shown, plain_table("Refresh by what changed, and the naive way", *table(runs)), as_json=as_json)


@app.command()
def publish(
    rows: Annotated[int, typer.Option(min=1, help="Rows of gold, all of them online.")] = 200_000,
    changed: Annotated[int, typer.Option(min=1, help="How many of them change.")] = 100_000,
    as_json: AsJson = False,
) -> None:
    """Push a first load and changed rows, compared with the fastest loop and with boto3's batch_writer."""
    if changed > rows:
        raise CommandError(f"--changed {changed} of --rows {rows}; give more rows or fewer changes")
    with progress("bench") as step:
        shown = run_publish(read_settings(), rows, changed, step)
    columns = ("", "rows a second")
    names = ("first_load", "first_load_limit", "changes", "limit", "batch_writer")
    rates: list[tuple[Any, ...]] = [(name, round(shown[name]["rows_per_second"])) for name in names]
    show(shown, plain_table("Pushes, the limit and boto3's batch_writer", columns, rates), as_json=as_json)


def run_publish(settings: Settings, rows: int, changed: int, step: Any) -> dict[str, Any]:
    from bench.publish import PublishBench
    from tailrace.workspace.workspace import Workspace

    store, spark = replace(settings.store, table="bench-publish"), for_many_rows(settings.spark)
    home = Workspace(
        settings=replace(settings, lake=str(settings.home / "bench" / "publish"), store=store, spark=spark)
    )
    return PublishBench(lake=home.lake, address=home.store, rows=rows, changed=changed, progress=step).run()


@app.command()
def aggregations(
    keys: Annotated[int, typer.Option(min=1, help="Rows of each view.")] = 1_000_000,
    changed: Annotated[float, typer.Option(min=0.0, max=1.0, help="The fraction of keys with a new event.")] = 0.01,
    as_json: AsJson = False,
) -> None:
    """Refresh each aggregation by itself and all together by what changed, compared with computing it in full."""
    events = round(keys * changed)
    if events < 1:
        raise CommandError(f"--changed {changed} of {keys} keys is less than one; give more of either")
    with progress("bench") as step:
        shown = run_aggregations(read_settings(), keys, events, step)
    columns = ("", "seconds", "in full", "ratio", "changed", "settled", "differing")
    rows = [
        (
            name,
            *(round(one[figure], 2) for figure in ("seconds", "full_seconds", "ratio")),
            *(one[figure] for figure in ("changed", "settled_keys", "differing")),
        )
        for name, one in shown["aggregations"].items()
    ]
    show(shown, plain_table("Aggregations by what changed, and in full", columns, rows), as_json=as_json)


def run_aggregations(settings: Settings, keys: int, changed: int, step: Any) -> dict[str, Any]:
    from bench.aggregations import AggregationBench
    from tailrace.workspace.workspace import Workspace

    own = replace(
        settings,
        lake=str(settings.home / "bench" / f"aggregations-{keys}"),
        spark=for_many_rows(settings.spark),
        features=("shipped",),
    )
    return AggregationBench(lake=Workspace(settings=own).lake, keys=keys, changed=changed, progress=step).run()


@app.command("serving")
def serve(
    documents: Annotated[int, typer.Option(min=16_000, help="How many the store holds.")] = 20_000,
    workers: Annotated[int, typer.Option(min=1, help="Of this reader and of Feast's server.")] = 1,
    accept: Annotated[
        list[str] | None, typer.Option(metavar="TYPE", help="Measure this format; all that there are by default.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few requests, and without Feast.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read features from a store 20 ms away, compared with a bare loop of reads and with Feast's server."""
    from bench.documents import Unequal
    from bench.measured import QUICK, WHOLE, LoadFailed
    from bench.processes import NotStarted
    from bench.readers import serving_home
    from bench.serving import FORMATS, ServingBench
    from tailrace.cli.bench_tables import serving_tables  # words of the benchmark itself

    with progress("bench") as step:
        bench = ServingBench(
            settings=serving_home(read_settings(), documents=documents),
            plan=QUICK if quick else WHOLE,
            documents=documents,
            workers=workers,
            formats=tuple(accept or FORMATS),
            progress=step,
        )
        try:
            shown = bench.run()
        except (LoadFailed, NotStarted, Unequal) as error:
            raise CommandError(str(error)) from error
    show(shown, *serving_tables(shown), as_json=as_json)


@app.command("direct")
def write_directly(
    workers: Annotated[int, typer.Option(min=1, help="Of the reader.")] = 1,
    seconds: Annotated[float, typer.Option(min=1, help="For each part.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Write values to a reader over a store on disk: how many are acknowledged, how soon each is read."""
    from bench.measured import LoadFailed
    from bench.processes import NotStarted
    from bench.writing import DirectBench, direct_home

    with progress("bench") as step:
        try:
            shown = DirectBench(
                settings=direct_home(read_settings()), workers=workers, seconds=seconds, progress=step
            ).run()
        except (LoadFailed, NotStarted) as error:
            raise CommandError(str(error)) from error
    rows = [(name, value) for name, value in shown.items() if not isinstance(value, dict)]
    show(shown, plain_table("Direct writes", ("figure", "value"), rows), as_json=as_json)


@app.command()
def streaming(
    seconds: Annotated[float, typer.Option(min=1.0, help="At each rate.")] = 20.0, as_json: AsJson = False
) -> None:
    """Produce events at several rates: how soon a reader answers with them, compared with the naive way."""
    from bench.followed import streaming_home
    from bench.freshness import StreamingBench
    from bench.measured import LoadFailed
    from bench.processes import NotStarted, ending_when_asked
    from tailrace.cli.bench_tables import streaming_tables

    with progress("bench") as step, ending_when_asked(), streaming_home(read_settings()) as own:
        try:
            shown = StreamingBench(settings=own, seconds=seconds, progress=step).run()
        except (LoadFailed, NotStarted, TimeoutError) as error:
            raise CommandError(f"{error}; the logs are in {own.home}") from error
    show(shown, *streaming_tables(shown), as_json=as_json)


@app.command()
def week(
    refreshes: Annotated[int, typer.Option(min=25, help="Of 15 minutes each.")] = 672,
    retention_days: Annotated[
        float, typer.Option(min=0.1, help="How long tables keep old files, in simulated days.")
    ] = 1.0,
    plot: Annotated[Path | None, typer.Option(help="Draw seconds and files into this SVG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Refresh a small workspace for a simulated week: seconds per refresh and files of the tables."""
    from bench.week import draw_week, run_week

    with progress("bench") as step:
        shown = run_week(read_settings(), refreshes=refreshes, retention_days=retention_days, progress=step)
    if plot:
        draw_week(shown["refreshes"], plot)
    rows: list[tuple[Any, ...]] = [(name, value) for name, value in shown.items() if name != "refreshes"]
    show(shown, plain_table("A simulated week", ("figure", "value"), rows), as_json=as_json)


@app.command()
def gates(
    refreshes: Annotated[int, typer.Option(min=4, help="Half of them with the gate, half without.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Refresh a small workspace by turns with and without the quality gate: what it costs."""
    from bench.overhead import run_gates

    with progress("bench") as step:
        shown = run_gates(read_settings(), refreshes=refreshes, progress=step)
    show(shown, plain_table("Quality gates", ("figure", "value"), list(shown.items())), as_json=as_json)


@app.command("airflow")
def through_airflow(
    refreshes: Annotated[int, typer.Option(min=1, help="As many through Airflow as by one command.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Refresh a small workspace for which nothing landed, through Airflow and as one command by turns."""
    from bench.overhead import run_airflow

    with progress("bench") as step:
        shown = run_airflow(read_settings(), refreshes=refreshes, progress=step)
    rows = [*((name, value) for name, value in shown.items() if name != "task_seconds"), *shown["task_seconds"].items()]
    show(
        shown,
        plain_table("A quiet refresh through Airflow, seconds", ("figure", "value"), rows),
        as_json=as_json,
    )


def run(settings: Settings, documents: int, rows: int, step: Any) -> dict[str, Any]:
    from bench.prepared_history import History
    from bench.refreshes import RefreshBench
    from tailrace.workspace.workspace import Workspace

    name = f"bench-{documents}-{rows}"
    own = replace(
        settings,
        lake=str(settings.home / "bench" / name),
        store=replace(settings.store, table=name),
        spark=for_many_rows(settings.spark),
        features=("shipped",),
    )
    home = Workspace(settings=own)
    bench = RefreshBench(
        lake=home.lake,
        address=home.store,
        definitions=home.definitions,
        history=History(documents=documents, changed_rows=rows),
        progress=step,
    )
    return bench.run()


def growth(runs: list[dict[str, Any]]) -> float:
    """How many times as long the largest refresh takes as the smallest."""
    return float(runs[-1]["incremental"]["seconds"] / runs[0]["incremental"]["seconds"])


def table(runs: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    columns = ("gold rows", "changed", "pushed", "seconds", "naive seconds", "ratio", "rows ratio", "scan ratio")
    rows = [
        (
            run["gold_rows"],
            run["incremental"]["changed"],
            run["incremental"]["pushed"],
            round(run["incremental"]["seconds"], 1),
            round(run["naive"]["seconds"], 1),
            round(run["ratio"], 1),
            round(run["rows_ratio"], 1),
            round(run["scan_ratio"], 1),
        )
        for run in runs
    ]
    return columns, rows
