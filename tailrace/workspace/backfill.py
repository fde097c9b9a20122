"""Backfill: past values of views, computed into their history."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from jobs import backfill
from tailrace.schemas.slots import AsOfError, to_text
from tailrace.workspace.refresh import catch_up_bronze
from tailrace.workspace.resources import Progress, Resources


def backfill_views(
    workspace: Resources, times: Sequence[datetime], *, id_: str, views: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """Compute the values of views at past times; figures per view. `views` has names, all that have a past if none."""
    now = datetime.now(UTC)
    if times[-1] > now:
        raise AsOfError(f"{to_text(times[-1])} is not past yet; give a time before {to_text(now)}")
    chosen = backfill.views_to_backfill(workspace.definitions, views)
    if chosen.keys() & workspace.definitions.stream_views.keys():
        catch_up_bronze(workspace)  # a moment that is recorded has all its events
    kafka = workspace.settings.stream.kafka is not None
    done = backfill.run(workspace.lake, workspace.definitions, chosen, times, id_=id_, progress=progress, kafka=kafka)
    left_out = sorted(set(workspace.definitions.batch_views) - set(chosen)) if not views else []
    return {
        "id": id_,
        "times": len(times),
        "left_out": left_out,
        "views": {name: asdict(one) for name, one in done.items()},
    }
