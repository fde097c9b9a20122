"""`tailrace rebuild`: what the lake knows is written into a store that lost it, and a view is given to another lane."""

from typing import Annotated

import typer

from tailrace.cli.output import AsJson, progress, show
from tailrace.cli.report import plain_table
from tailrace.workspace.workspace import Workspace

app = typer.Typer()

Views = Annotated[list[str] | None, typer.Argument(metavar="[VIEW]...", help="All of them by default.")]


@app.command()
def rebuild(views: Views = None, *, as_json: AsJson = False) -> None:
    """Write what the lake knows of views into the store: after it was lost, or after a view's lane was changed.

    A view of another lane is taken over first, and that lane's values are removed. What the store has of later direct writes
    stays. The views of the stream are written together, and the stream has to be stopped.
    """
    with progress("rebuild") as step:
        shown = Workspace(views=views or ()).rebuild(progress=step)
    rows = [(name, *one.values()) for name, one in shown["views"].items()]
    columns = ("view", "lane", "taken from", "removed", "written", "seconds")
    show(shown, plain_table("Rebuilt", columns, rows), as_json=as_json)
