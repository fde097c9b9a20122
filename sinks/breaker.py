"""Stop a push that would change too much at once, before anything is recorded or written."""

from collections.abc import Callable, Mapping

from sinks.protocol import FIRST_LOAD, NEW_FEATURES
from sinks.steps import Plan
from tailrace.errors import DataError

LARGEST_SHARE = 0.4  # of the online rows
SMALLEST_VIEW = 1_000  # online rows from which on a share means anything


class BreakerOpen(DataError):
    """A push would update or remove more of a view than happens by itself; the message says how much, and what to do."""


def check_share(view: str, plan: Plan, counts: Mapping[str, int], online_rows: Callable[[], int]) -> None:
    """Raise `BreakerOpen` where too many of the rows that were online would be updated or removed.

    `online_rows` counts those that gold has now; it is asked only where the changes could be too many.
    """
    changes = counts["updates"] + counts["removals"]
    if plan.how == FIRST_LOAD or plan.why == NEW_FEATURES or changes <= LARGEST_SHARE * SMALLEST_VIEW:
        return
    were_online = online_rows() - counts["inserts"] + counts["removals"]
    if were_online >= SMALLEST_VIEW and changes > LARGEST_SHARE * were_online:
        raise BreakerOpen(
            f"view {view}: {counts['updates']:,} of {were_online:,} online rows would change and "
            f"{counts['removals']:,} would go, more than {LARGEST_SHARE:.0%}; nothing was written. If that is right, "
            "push again with --allow-large-change and a reason; if not, mend the data first"
        )
