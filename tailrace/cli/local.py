"""`tailrace up`, `down`, `status`, and Airflow's own command line: everything on one machine."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tailrace.cli.output import AsJson, plain_table, progress, show
from tailrace.errors import CommandError
from tailrace.local import airflow, stack
from tailrace.local.airflow import write_dag_files
from tailrace.local.background import HEALTHY, STOPPED
from tailrace.local.streaming import followed_by_stream, known
from tailrace.settings import Settings, read_settings

app = typer.Typer()

WRITE_DAGS = "write-dags"  # no command of Airflow has this name


@app.command()
def up(
    streaming: Annotated[
        bool, typer.Option("--streaming", help="The stream too, and a broker unless TAILRACE_KAFKA names one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the store, the reader and Airflow in the background, unless they run."""
    settings = read_settings()
    with progress("up") as step:
        found = stack.up(settings, step, with_stream=streaming)
    show(shown(settings, found), table(found), *welcome(settings, found), as_json=as_json)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop all of it, once running tasks have ended."""
    with progress("down") as step:
        stopped = stack.down(read_settings(), step)
    show({"stopped": stopped}, f"stopped {', '.join(stopped)}" if stopped else "nothing was running", as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say what runs, whether it is healthy, and where; fails where only a part of it is."""
    settings = read_settings()
    found = stack.service_states(settings)
    states = {one.state for one in found.values()}
    show(shown(settings, found), table(found), *welcome(settings, found), as_json=as_json)
    if states not in ({HEALTHY}, {STOPPED}):
        raise typer.Exit(1)


@app.command(
    "airflow", context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def airflow_command(context: typer.Context) -> None:
    """Airflow's own command line, with the settings of the Airflow that `up` starts, such as `airflow dags list`.

    `airflow write-dags DIR` is ours: it writes the files that Airflow's DAG folder needs.
    """
    if context.args[:1] == [WRITE_DAGS]:
        write_dags(context.args[1:])
        return
    os.execve(
        sys.executable, (sys.executable, "-m", "airflow", *context.args), airflow.environment(known(read_settings()))
    )


def write_dags(arguments: list[str]) -> None:
    """Write the DAG files into the one folder that is named."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise CommandError(f"`tailrace airflow {WRITE_DAGS}` takes one folder, such as `dags`")
    written = write_dag_files(Path(arguments[0]))
    show({"written": [str(path) for path in written]}, f"wrote {', '.join(map(str, written))}", as_json=False)


def shown(settings: Settings, found: dict[str, stack.ServiceState]) -> dict[str, object]:
    login = {"user": airflow.USER, "password": airflow.password(settings)}
    return {"services": {name: asdict(one) for name, one in found.items()}, "airflow_login": login}


def table(found: dict[str, stack.ServiceState]) -> Table:
    rows = [(name, one.state, one.address or "", str(one.pid or "")) for name, one in found.items()]
    return plain_table("Services", ("service", "state", "address", "process"), rows)


def welcome(settings: Settings, found: dict[str, stack.ServiceState]) -> list[str]:
    if {one.state for one in found.values()} == {STOPPED}:
        return ["Nothing runs; `make up` starts it."]
    followed = followed_by_stream(known(settings))
    return [
        f"Log in to Airflow as {airflow.USER} with the password {airflow.password(settings)}.",
        *([f"The stream follows {followed}."] if followed else []),
        f"Logs: {settings.run_folder}",
    ]
