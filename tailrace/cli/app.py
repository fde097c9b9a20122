"""The command `tailrace`, and its groups of commands, which are imported when they are asked for."""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, cast

import typer
from typer.core import TyperGroup
from typer.main import get_group
from typer.rich_utils import rich_format_error

from tailrace.cli.failures import as_shown
from tailrace.cli.output import AsJson, ReportTo, aside, people, plain_table, progress, show
from tailrace.errors import CommandError, TailraceError, UnexpectedError
from tailrace.extras import explain_missing
from tailrace.settings import read_settings, with_project
from tailrace.workspace.workspace import Workspace

# Where each command or group of commands is defined, as `app`.
MODULES: Mapping[str, str] = {
    "refresh": "pipeline",
    "run": "pipeline",
    "verify": "pipeline",
    "reconcile": "pipeline",
    "runs": "pipeline",
    "backfill": "pipeline",
    "rebuild": "pipeline",
    "up": "local",
    "down": "local",
    "status": "local",
    "airflow": "local",
    "events": "demo",
    "store": "store",
    "stream": "stream",
    "keys": "keys",
    "bench": "bench",
    "features": "features",
}

INTERRUPTED = 130  # what a shell calls a command that was stopped from the keyboard


class CommandGroup(TyperGroup):
    """Commands of its own, and those of `MODULES`: `tailrace status` waits for neither Spark nor the reader."""

    modules: ClassVar[Mapping[str, str]] = MODULES

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands, in the order in which help shows them."""
        return [*super().list_commands(ctx), *(name for name in self.modules if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; None if there is none."""
        if cmd_name in self.modules and cmd_name not in self.commands:
            group = get_group(import_module(f"tailrace.cli.{self.modules[cmd_name]}").app)
            command = group.commands.get(cmd_name, group)
            command.name = cmd_name
            self.add_command(command)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, add_completion=False, help="A feature store that ships only what changed."
)


def main() -> None:
    """Run the command line; every failure is one line, and with `--json` an object."""
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:  # a wrong option, which is shown with the usage
        rich_format_error(cast("Any", error))  # typed for a subclass that is not public
        end(error.format_message(), code=error.exit_code)
    except typer.Abort:
        end("aborted")
    except Exception as error:  # noqa: BLE001 - every error is reported
        shown = as_shown(error)
        aside.print(f"tailrace: {shown}", style="red", highlight=False, soft_wrap=True)
        log = shown.log if isinstance(shown, UnexpectedError) else None
        end(str(shown), code=shown.exit_code if isinstance(shown, TailraceError) else 1, log=log)
    if code == INTERRUPTED:
        end("interrupted; what was committed stays, and running it again goes on from there", code=code)
    sys.exit(code)


def end(message: str, *, code: int = 1, log: Path | None = None) -> NoReturn:
    """End a command that failed, with one JSON object where that is asked for."""
    if "--json" in sys.argv:
        show({"error": message} | ({"log": str(log)} if log else {}), as_json=True)
    sys.exit(code)


def show_version(asked: bool) -> None:  # noqa: FBT001 - as Typer calls it
    if asked:
        people.print(f"tailrace {version('tailrace')}", highlight=False)
        raise typer.Exit


@app.callback()
def tailrace(
    _: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A feature store that ships only what changed."""
    os.environ.update(with_project(os.environ))  # processes that commands start work on the same project


@app.command()
def get(
    view: str,
    key: Annotated[list[str], typer.Argument(help="One id per key column of the view.")],
    source: Annotated[str, typer.Option("--from", metavar="gold|store")] = "store",
    as_json: AsJson = False,
) -> None:
    """Show one row of a view, from gold or from the online store."""
    workspace = Workspace()
    row = workspace.get(view, *key, source=source)
    ids = dict(zip(workspace.definitions.view(view).keys, key, strict=True))
    shown = {"view": view, "from": source, "key": ids, "found": row is not None, "features": row}
    title = f"{view} {', '.join(key)}, from {source}"
    text = plain_table(title, ("feature", "value"), list(row.items())) if row else f"{title}: no such row"
    show(shown, text, as_json=as_json)


@app.command()
def export(
    view: str, out: Annotated[Path, typer.Option(help="A folder that does not exist yet.")], as_json: AsJson = False
) -> None:
    """Write a view's gold table as plain Parquet."""
    shown = Workspace().export(view, out)
    show(shown, f"{shown['rows']:,} rows of {view} in {out}", as_json=as_json)


@app.command()
def maintain(report_to: ReportTo = None, as_json: AsJson = False) -> None:
    """Rewrite small files and remove unneeded ones; a refresh does it too, when it is due."""
    from tailrace.cli.run_report import reported, show_words

    with progress("maintain"):
        shown = reported("maintain", lambda: Workspace().maintain(), report_to)
    show_words(shown, report_to, as_json=as_json)
    if shown["failure"] or any(table["failure"] for table in shown["tables"].values()):
        raise typer.Exit(1)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 6566,
    workers: Annotated[int, typer.Option()] = 1,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    local: Annotated[bool, typer.Option("--local", help="Answer everybody; the address must be loopback.")] = False,
    as_json: AsJson = False,
) -> None:
    """Serve features to rankers until stopped."""
    with explain_missing("reader"):
        from serving.process.supervisor import run_reader

        run_reader(read_settings(), port=port, workers=workers, host=host, local=local)
    show({"stopped": True, "port": port}, "stopped", as_json=as_json)


@app.command()
def demo(
    git: Annotated[Path | None, typer.Option(help="Take the history of this git repository.")] = None,
    events: Annotated[Path | None, typer.Option(help="Take this file in the landing format.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show it all: events land, four refreshes, what changed and was pushed, a ranker's answer."""
    from tailrace.cli.demo import demo_lines
    from tailrace.demo.show import run_demo

    if git and events:
        raise CommandError("give --git or --events, not both")
    with progress("demo") as step:
        summary = run_demo(Workspace(settings=read_settings()), git=git, events=events, progress=step)
    show(summary, *demo_lines(summary), as_json=as_json)


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR")], as_json: AsJson = False) -> None:
    """Write a project into a new folder: a source, a view, a service and a generator of sample events."""
    from tailrace.workspace.new_project import write_project

    files = write_project(folder)
    text = f"{', '.join(files)} are in {folder}; README.md says how to go on"
    show({"folder": str(folder), "files": files}, text, as_json=as_json)


@app.command()
def setup(
    stream: Annotated[bool, typer.Option("--stream", help="The JARs of Kafka too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch what an installed package needs: Delta's JARs and the embedded store, by checksum; quick when they are there."""
    from tailrace.downloads.fetch import fetch_tools
    from tailrace.settings.places import tools_folder

    tools = tools_folder(os.environ)
    fetch_tools(tools, stream=stream)
    show({"tools": str(tools), "stream": stream}, f"JARs and store are in {tools}", as_json=as_json)


if __name__ == "__main__":
    main()
