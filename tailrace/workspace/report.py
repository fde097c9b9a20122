"""What a refresh reports, as an object and as the JSON that `tailrace refresh --json` prints."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from jobs.bronze.load import Loaded
from jobs.gold.refresh import Refreshed
from jobs.maintenance import Maintained
from jobs.silver.merge import Withdrawn
from sinks.ledger import Pushed
from tailrace.quality.gate import Verdict
from tailrace.schemas.slots import to_text

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole refresh: what landed, per view what became of gold and of the store, the maintenance that was due, and what
    the quality gate found per table.

    `taken_back` is what silver gave back of files set aside, per table; `to_recount` are the views of the stream that may
    have counted these files.
    """

    as_of: datetime
    seconds: float
    landed: Loaded
    refreshed: dict[str, Refreshed]
    pushed: dict[str, Pushed]
    maintained: dict[str, Maintained]
    gates: dict[str, Verdict]
    taken_back: dict[str, Withdrawn]
    to_recount: tuple[str, ...]

    def json(self) -> Json:
        """The object that `tailrace refresh --json` prints."""
        return refresh_json(self)


def refresh_json(report: Report) -> Json:
    """A refresh as `tailrace refresh --json` prints it.

    `maintained` is there only where something was due, `taken_back` and `recount` where files were set aside.
    """
    shown = {
        "as_of": to_text(report.as_of),
        "seconds": round(report.seconds, 3),
        "landed": asdict(report.landed),
        "views": {view: view_json(report, view) for view in report.refreshed},
        "gates": {table: asdict(found) for table, found in report.gates.items()},
    }
    maintained = {table: asdict(one) for table, one in report.maintained.items()}
    shown |= taken_back_json(report.taken_back) | recount_json(report.to_recount)
    return shown | ({"maintained": maintained} if maintained else {})


def taken_back_json(taken_back: Mapping[str, Withdrawn]) -> Json:
    """What silver gave back of files set aside, under `taken_back` by table; nothing where that is nothing."""
    return {"taken_back": {table: asdict(back) for table, back in taken_back.items()}} if taken_back else {}


def recount_json(views: Sequence[str]) -> Json:
    """The views of the stream that are to be counted again, and by which command; nothing where there are none."""
    return {"recount": {"views": list(views), "command": f"tailrace rebuild {' '.join(views)}"}} if views else {}


def view_json(report: Report, view: str) -> Json:
    refreshed, pushed = report.refreshed[view], report.pushed[view]
    return {
        "gold_rows": refreshed.gold_rows,
        "changed": refreshed.changed,
        "computed": refreshed.how,
        "why": refreshed.why,
        "pushed": pushed.pushed,
        "removed": pushed.removed,
        "suppressed": pushed.suppressed,
        "stale": pushed.stale,
        "how": pushed.how,
        "why_snapshot": pushed.why,
        "seconds": round(refreshed.seconds + pushed.seconds, 3),
    }
