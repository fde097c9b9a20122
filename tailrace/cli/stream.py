"""`tailrace stream`: the streaming lane, its state as a person reads it, and a broker for local use."""

import logging
import os
from typing import Annotated, Any

import typer
from rich.table import Table

from tailrace.cli.output import AsJson, aside, plain_table, show
from tailrace.settings import read_settings
from tailrace.workspace.workspace import Workspace

Status = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="The streaming lane.")


@app.callback()
def stream() -> None:
    """The streaming lane."""


@app.command("run")
def run_stream() -> None:
    """Keep the views of the lane stream up to date until stopped; it goes on where it was killed."""
    logging.basicConfig(format="%(asctime)s %(message)s")
    Workspace().run_stream(progress=lambda line: aside.print(line, highlight=False))


@app.command("start")
def start_stream(as_json: AsJson = False) -> None:
    """Have the stream run in the background, unless it does."""
    from tailrace.local.streaming import keep_running

    text = keep_running(read_settings())
    show({"told": text}, text, as_json=as_json)


@app.command("stop")
def stop_stream(as_json: AsJson = False) -> None:
    """Stop a stream that runs in the background."""
    from tailrace.local.streaming import stop_running

    stopped = stop_running(read_settings())
    show({"stopped": stopped}, "stopped" if stopped else "was not running", as_json=as_json)


@app.command()
def status(
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="Leave a stream that has begun again so long to catch up.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Say how far the stream is; fails where it does not run, or lags behind the freshness that its views ask for."""
    found = Workspace().stream_status(grace=grace)
    show(found, *words(found), table(found), as_json=as_json)
    if found["why"]:
        raise typer.Exit(1)


@app.command()
def broker() -> None:
    """Run a Kafka broker on loopback until stopped, with its data below TAILRACE_HOME."""
    from tailrace.local.streaming import prepare_broker, servers

    settings = read_settings()
    command = prepare_broker(settings)
    aside.print(f"TAILRACE_KAFKA={servers(settings)}", highlight=False)
    os.execvp(command[0], command)


def words(found: Status) -> list[str]:
    """The state in a line, and below it what is wrong."""
    lag = "" if found["lag_seconds"] is None else f", {found['lag_seconds']:.1f} s behind"
    messages = "" if found["behind"] is None else f", {found['behind']:,} messages left"
    if not found["running"]:
        return [*found["why"]] or ["it does not run"]
    messages += f", {found['waiting']:,} behind open transactions" if found["waiting"] else ""
    begun = "follows" if found["follows"] else "is starting"
    first = f"The stream, process {found['pid']}, {begun} since {found['began']}{lag}{messages}."
    failing = [f"Failing since {found['failing_since']}: {found['error']}"] if found["failing_since"] else []
    return [
        first,
        *failing,
        *left_out_words(found["left_out"]),
        *(why for why in found["why"] if why != found["error"]),
    ]


def left_out_words(left_out: Status) -> list[str]:
    if not left_out["files"]:
        return []
    last = left_out["files"][-1]
    return [f"{left_out['count']:,} files were left out so far, the last of them {last['file']}: {last['reason']}"]


def table(found: Status) -> Table:
    rows = [
        (
            name,
            f"{view['freshness_seconds']:g} s",
            age(view["watermark_age_seconds"]),
            "lags" if view["lags"] else "fresh",
        )
        for name, view in found["views"].items()
    ]
    return plain_table("Stream views", ("view", "wanted", "watermark's age", ""), rows)


def age(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:.1f} s"
