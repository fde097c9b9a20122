"""The commands `tailrace features …`: what is defined, and what there still is of views that are not."""

from typing import Annotated, Any

import orjson
import typer

from serving.openapi import catalogue
from tailrace.cli.output import AsJson, ViewNames, progress, show
from tailrace.cli.plan import plan_lanes
from tailrace.cli.report import plain_table
from tailrace.errors import CommandError
from tailrace.workspace.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="The feature definitions.")
app.command("plan")(plan_lanes)


@app.command("list")
def list_features(*, as_json: AsJson = False) -> None:
    """List the views, on-demand features and services, and views that are no longer defined and left something."""
    from tailrace.workspace.undefined import undefined_lines

    workspace = Workspace()
    shown = catalogue(workspace.definitions) | {"undefined": workspace.undefined()}
    rows: list[tuple[Any, ...]] = [
        (name, ", ".join(view["keys"]), len(view["features"]), view["lane"], view["owner"])
        for name, view in shown["views"].items()
    ]
    table = plain_table("Feature views", ("view", "keys", "features", "lane", "owner"), rows)
    show(shown, table, *undefined_lines(shown["undefined"]), as_json=as_json)


@app.command("show")
def show_feature(name: str, *, as_json: AsJson = False) -> None:
    """Show one view, on-demand feature or service."""
    kinds = catalogue(Workspace().definitions)
    found = [{"kind": kind, "name": name, **named[name]} for kind, named in kinds.items() if name in named]
    if not found:
        raise CommandError(f"there is no {name!r}; `tailrace features list` lists the views")
    shown = found[0]
    people_see = orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()
    show(shown, people_see, as_json=as_json)


@app.command("independent")
def independent_views(views: ViewNames = None, *, as_json: AsJson = False) -> None:
    """List the batch views in independent groups, each of which can be refreshed by itself."""
    groups = Workspace(views=views or ()).chosen.independent
    show({"groups": groups}, *(", ".join(group) for group in groups), as_json=as_json)


@app.command("drop")
def drop_feature_view(
    view: str,
    *,
    history: Annotated[bool, typer.Option("--history", help="Remove its history too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what a view that is no longer defined left: its values in the store and its gold table."""
    from tailrace.workspace.undefined import dropped_lines

    with progress("drop") as step:
        shown = Workspace().drop(view, history=history, progress=step)
    show(shown, *dropped_lines(shown), as_json=as_json)
