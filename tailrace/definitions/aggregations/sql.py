"""The words of Spark SQL in which aggregations are written, and the columns that a refresh gives them.

The full computation aggregates interactions that happened, each with `within(window)` for every window of the view. A
refresh aggregates signed interactions: each has `weight(window)`, by which it adds to what is counted in the window, and
`GAINED`, which is 1 for an interaction that gold did not count yet, -1 for one that is lost, 0 for one that crossed the
edge of a window. Both have `meets(where)` for each condition that an aggregation of the view names. A row in the change feed of a base view has `SIGN`: 1 as it is now, -1 as it was before.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tailrace.definitions.fingerprints import digest
from tailrace.definitions.names import Window

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns

WITHIN, WEIGHT, MEETS = "within_", "weight_", "meets_"
GAINED = "gained"
SIGN = "_sign"
LOST = "_lost"  # of the increments of a key: whether it lost an interaction
LEAVING = "_leaving_"  # of the increments of a key: what leaves an extreme's window


def within(window: Window) -> str:
    """The column that says whether an interaction is in the window."""
    return f"{WITHIN}{window.name}"


def weight(window: Window) -> str:
    """The column with what a signed interaction adds to a count over the window."""
    return f"{WEIGHT}{window.name}"


def meets(where: str) -> str:
    """The column that says whether an interaction meets the condition of an aggregation."""
    return f"{MEETS}{digest(str(where))}"  # of what is no text, too: that is refused by name


def is_of(types: Sequence[str], events: "EventColumns", *, where: str | None = None) -> str:
    """Whether an event is of one of these types, or of any where none is named, and meets a condition; null is not met."""
    of_type = [f"{events.type} IN ({', '.join(map(quoted, types))})"] if types else []
    return " AND ".join([*of_type, *([meets(where)] if where else [])]) or "TRUE"


def quoted(text: str) -> str:
    """A text as a literal; Spark would replace `${...}` in SQL, also inside a literal, by a setting of that name."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("$", "\\u0024")
    return f"'{escaped}'"
