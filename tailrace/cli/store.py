"""`tailrace store`: the embedded online store of this home."""

import typer

from tailrace.cli.output import AsJson, show
from tailrace.errors import CommandError
from tailrace.settings import Settings, read_settings
from tailrace.store import embedded

app = typer.Typer(no_args_is_help=True, help="The embedded online store.")


@app.command()
def start(as_json: AsJson = False) -> None:
    """Start the store unless it runs."""
    show_running(embedded.start(own()), as_json=as_json)


@app.command()
def stop(as_json: AsJson = False) -> None:
    """Stop the store; what it holds stays on disk."""
    stopped = embedded.stop(own())
    show({"running": False, "stopped": stopped}, "stopped" if stopped else "was not running", as_json=as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say whether the store runs, and where."""
    show_running(embedded.status(own()), as_json=as_json)


def own() -> Settings:
    """The settings, if the store is this home's to start and stop."""
    settings = read_settings()
    if settings.store.url:
        raise CommandError(f"TAILRACE_STORE_URL is {settings.store.url}, a store that Tailrace does not run; unset it")
    return settings


def show_running(running: embedded.Running | None, *, as_json: bool) -> None:
    if running is None:
        show({"running": False}, "not running", as_json=as_json)
    else:
        shown = {"running": True, "url": running.url, "pid": running.pid}
        show(shown, f"running at {running.url}, process {running.pid}", as_json=as_json)
