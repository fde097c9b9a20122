"""The commands `tailrace features …`: what is defined, which lane suits each view, and what is left of views that went."""

from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from serving.definition_list import catalogue
from tailrace.cli.output import AsJson, ViewNames, plain_table, progress, show, table_lines
from tailrace.errors import CommandError
from tailrace.workspace.lane_plan import PRICE, finest_words
from tailrace.workspace.workspace import Workspace

Price = Annotated[float, typer.Option(min=0, help="Dollars for a million write units of the store.")]

app = typer.Typer(no_args_is_help=True, help="The feature definitions.")


@app.command("plan")
def plan_lanes(price: Price = PRICE, *, as_json: AsJson = False) -> None:
    """Recommend a lane for each view, from its freshness, its changes and the cost of writes."""
    with progress("plan"):
        shown = Workspace().plan(price=price)
    table = Table(title="Lanes", show_lines=True)
    for column in ("view", "lane", "recommended", "$ a month there", "why"):
        table.add_column(column)
    for name, one in shown["views"].items():
        dollars = one["dollars_per_month"][one["recommended"]]
        mark = one["recommended"] if one["is_right"] else f"[bold red]{one['recommended']}"
        table.add_row(name, one["lane"], mark, "-" if dollars is None else f"{dollars:,.2f}", "; ".join(one["reasons"]))
    if (finest := shown["finest"]) and not finest["declared"]:
        dollars = finest["dollars_per_month"]
        shown_dollars = "-" if dollars is None else f"{dollars:,.2f}"
        table.add_row(finest["view"], "stream", "(nobody declares it)", shown_dollars, finest_words(finest))
    wrong = shown["wrong"]
    summary = f"In the wrong lane: {', '.join(wrong)}." if wrong else "Every view is in the lane that suits it."
    show(shown, table, summary, *table_lines(shown), as_json=as_json)


@app.command("diff")
def diff_features(price: Price = PRICE, *, as_json: AsJson = False) -> None:
    """Say what the next refresh computes, pushes and costs because definitions changed, before it runs."""
    with progress("diff") as step:
        step("starting Spark")
        shown = Workspace().diff(price=price)
    from tailrace.workspace.definition_changes import change_lines

    columns = ("view", "lane", "change", "computes in full", "pushes", "bytes", "write units", "$")
    rows = [(name, *diff_cells(view)) for name, view in shown["views"].items()]
    show(shown, plain_table("What definitions change", columns, rows), *change_lines(shown), as_json=as_json)


def diff_cells(view: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a view after its name."""
    computes, pushes = view["computes"], view["pushes"]
    rows = "all of it" if pushes["rows"] is None else f"{pushes['rows']:,} rows"
    return (
        view["lane"],
        view["change"],
        ("all of it" if computes["rows"] is None else f"{computes['rows']:,} rows") if computes["full"] else "-",
        f"up to {rows}" if pushes["at_most"] else rows if pushes["rows"] != 0 else "-",
        *("-" if not pushes[name] else f"{pushes[name]:,}" for name in ("bytes", "write_units", "dollars")),
    )


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
