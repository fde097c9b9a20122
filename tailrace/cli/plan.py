"""`tailrace features plan`: which lane each view belongs in, and why."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.table import Table

from tailrace.cli.output import AsJson, progress, show
from tailrace.settings import read_settings
from tailrace.workspace.lane_plan import PRICE, Terms, plan
from tailrace.workspace.workspace import Workspace

Price = Annotated[float, typer.Option(min=0, help="Dollars for a million write units of the store.")]


def plan_lanes(price: Price = PRICE, *, as_json: AsJson = False) -> None:
    """Recommend a lane for each view, from its freshness, its changes and the cost of writes."""
    from tailrace.workspace.lane_facts import observe

    workspace = Workspace(settings=read_settings())
    views = list(workspace.definitions.views.values())
    terms = Terms(interval=timedelta(minutes=workspace.settings.schedule.refresh_minutes), price=price)
    with progress("plan"):
        seen = observe(workspace.lake, views)
    shown = {view.name: plan(view, seen[view.name], terms) for view in views}
    table = Table(title="Lanes", show_lines=True)
    for column in ("view", "lane", "recommended", "$ a month there", "why"):
        table.add_column(column)
    for name, one in shown.items():
        dollars = one["dollars_per_month"][one["recommended"]]
        mark = one["recommended"] if one["is_right"] else f"[bold red]{one['recommended']}"
        table.add_row(name, one["lane"], mark, "-" if dollars is None else f"{dollars:,.2f}", "; ".join(one["reasons"]))
    wrong = [name for name, one in shown.items() if not one["is_right"]]
    summary = f"In the wrong lane: {', '.join(wrong)}." if wrong else "Every view is in the lane that suits it."
    show({"views": shown, "wrong": wrong, "price_per_million": price}, table, summary, as_json=as_json)
