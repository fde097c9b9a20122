"""`tailrace stream`: the streaming lane, and a broker for local use."""

import logging
import os
from typing import Annotated

import typer

from tailrace.cli.output import AsJson, aside, show
from tailrace.settings import read_settings
from tailrace.workspace.workspace import Workspace

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
    from tailrace.local.keep_stream import keep_running

    text = keep_running(read_settings())
    show({"told": text}, text, as_json=as_json)


@app.command("stop")
def stop_stream(as_json: AsJson = False) -> None:
    """Stop a stream that runs in the background."""
    from tailrace.local.keep_stream import stop_running

    stopped = stop_running(read_settings())
    show({"stopped": stopped}, "stopped" if stopped else "was not running", as_json=as_json)


@app.command()
def status(
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="Leave a stream that has begun again so long to catch up.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Say how far the stream is; fails where it does not run, or lags behind the freshness that is wanted."""
    from tailrace.cli.stream_report import table, words

    found = Workspace().stream_status(grace=grace)
    show(found, *words(found), table(found), as_json=as_json)
    if found["why"]:
        raise typer.Exit(1)


@app.command()
def broker() -> None:
    """Run a Kafka broker on loopback until stopped, with its data below TAILRACE_HOME."""
    from tailrace.local.broker import prepare, servers

    settings = read_settings()
    command = prepare(settings)
    aside.print(f"TAILRACE_KAFKA={servers(settings)}", highlight=False)
    os.execvp(command[0], command)
