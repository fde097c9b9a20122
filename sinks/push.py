"""Push views, each by the steps of `sinks.protocol`, and enter what became of them in the ledger."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from pyspark.sql import DataFrame

from sinks import ledger, protocol
from sinks.deeds import Push
from sinks.ledger import Pushed
from sinks.protocol import REPAIR
from sinks.rows import Address, Outcome
from tailrace.definitions import FeatureView
from tailrace.lake.tables import AT_ONCE, Lake


def push_views(
    lake: Lake, address: Address, views: Iterable[FeatureView], *, allowed: str | None = None
) -> dict[str, Pushed]:
    """Push several views at once and enter them in the ledger; the first error is raised when all are done.

    `allowed` is the reason for which a change may be larger than the breaker takes.
    """
    run = ledger.Run(allowed)

    def push(view: FeatureView) -> Pushed:
        return push_view(lake, address, view, allowed=allowed is not None)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        pushes = {view.name: pool.submit(push, view) for view in views}
    results = {name: one.exception() or one.result() for name, one in pushes.items()}
    try:
        ledger.append(lake, run, {name: told for name, told in results.items() if isinstance(told, Pushed | Exception)})
    finally:  # what became of the pushes comes before what became of the ledger
        done = {name: one.result() for name, one in pushes.items()}
    return done


def push_view(lake: Lake, address: Address, view: FeatureView, *, allowed: bool = False) -> Pushed:
    """Bring the store's values of a view to gold's newest version; the cursor moves after every write.

    `allowed` lets a change through that is larger than the breaker takes.
    """
    began = time.monotonic()
    with Push(lake, address, view, allowed=allowed) as push:
        plan, outcome = push.run(protocol.push())
        pushed = push.figures(outcome or Outcome(), how=plan.how, why=plan.why)
    return replace(pushed, seconds=time.monotonic() - began)


def repair_keys(lake: Lake, address: Address, view: FeatureView, keys: DataFrame) -> Pushed:
    """Write some keys as gold holds them at the cursor; raises `PushFirst` where a push has to go first."""
    began = time.monotonic()
    with Push(lake, address, view) as push:
        repaired = push.figures(push.run(protocol.repair(keys)), how=REPAIR)
    return replace(repaired, seconds=time.monotonic() - began)
