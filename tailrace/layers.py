"""Single layers and the reconciliation, as the command line runs them."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from contracts.slots import last_tick, to_text
from jobs import maintenance
from jobs.gold import refresh as gold
from jobs.gold.verify import verify_view
from sinks.reconcile import reconcile_view
from tailrace.refresh import Home, Progress, run_bronze, run_publish, run_silver

Json = dict[str, Any]


def run_layer(home: Home, layer: str, *, as_of: datetime | None, full: bool) -> Json:
    """Run bronze, silver, gold or publish; returns its figures."""
    if layer == "bronze":
        return asdict(run_bronze(home))
    if layer == "silver":
        run_silver(home)
        return {"layer": "silver"}
    if layer == "gold":
        as_of = as_of or last_tick(datetime.now(UTC))
        refreshed = gold.run(home.lake, home.definitions, as_of=as_of, full=full)
        return {"as_of": to_text(as_of), "views": {name: asdict(one) for name, one in refreshed.items()}}
    return {"views": {name: asdict(one) for name, one in run_publish(home).items()}}


def verify_all(home: Home, progress: Progress) -> Json:
    """Compare every view's gold with the full computation; figures per view and in total."""
    views = {}
    for view in home.definitions.views.values():
        progress(view.name)
        views[view.name] = asdict(verify_view(home.lake, home.definitions, view))
    total = {name: sum(view[name] for view in views.values()) for name in ("rows", "differing")}
    return total | {"views": views}


def reconcile_all(home: Home, progress: Progress) -> Json:
    """Compare every view's gold with the store; figures per view and in total."""
    views = {}
    for view in home.definitions.views.values():
        progress(view.name)
        views[view.name] = asdict(reconcile_view(home.lake, home.store, view))
    total = {name: sum(view[name] for view in views.values()) for name in ("compared", "missing", "ghost", "different")}
    return total | {"views": views}


def maintain_all(home: Home) -> Json:
    """Compact and vacuum every table; figures per table."""
    return {
        "tables": {name: asdict(one) for name, one in maintenance.run(home.lake, home.definitions, home.store).items()}
    }
