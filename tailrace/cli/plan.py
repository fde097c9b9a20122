"""`tailrace features plan`: which lane each view belongs in, and why."""

from typing import Annotated

import typer
from rich.table import Table

from tailrace.cli.output import AsJson, progress, show
from tailrace.workspace.lane_plan import PRICE
from tailrace.workspace.workspace import Workspace

Price = Annotated[float, typer.Option(min=0, help="Dollars for a million write units of the store.")]


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
    wrong = shown["wrong"]
    summary = f"In the wrong lane: {', '.join(wrong)}." if wrong else "Every view is in the lane that suits it."
    show(shown, table, summary, as_json=as_json)
