"""`tailrace stream`: the streaming lane, and a broker for local use."""

import fcntl
import os
from dataclasses import replace

import typer

from settings import Settings, read_settings
from tailrace.errors import CommandError
from tailrace.output import aside

app = typer.Typer(no_args_is_help=True, help="The streaming lane.")


@app.callback()
def stream() -> None:
    """The streaming lane."""


@app.command("run")
def run_stream() -> None:
    """Keep the views of the lane stream up to date until stopped; it goes on where it was killed."""
    settings = read_settings()
    folder = settings.home / "stream"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"the stream of {settings.home} runs already") from None
        follow(settings, checkpoint=str(folder / "checkpoint"))


def follow(settings: Settings, *, checkpoint: str) -> None:
    from jobs.bronze.topic import topic_of
    from jobs.streaming import run
    from tailrace.refresh import Home

    # Tasks of a micro-batch are short: each one more costs more than it does.
    home = Home(replace(settings, spark=replace(settings.spark, shuffle_partitions=2)))
    topic = topic_of(settings.stream)
    if topic:
        messages = run.from_kafka(home.spark, topic, checkpoint=checkpoint)
    elif "://" in settings.landing:
        raise CommandError("the stream reads a folder of this machine, or Kafka: set TAILRACE_KAFKA")
    else:
        messages = run.from_folder(home.spark, f"{settings.landing}/events")
    name = topic.name if topic else None
    query = run.start(messages, home.definitions, home.store, checkpoint=checkpoint, topic=name)
    aside.print(f"The stream follows {settings.stream.kafka or settings.landing}", highlight=False)
    try:
        query.awaitTermination()
    finally:
        query.stop()


@app.command()
def broker() -> None:
    """Run a Kafka broker on loopback until stopped, with its data below TAILRACE_HOME."""
    from tailrace.local.broker import prepare, servers

    settings = read_settings()
    command = prepare(settings)
    aside.print(f"TAILRACE_KAFKA={servers(settings)}", highlight=False)
    os.execvp(command[0], command)
