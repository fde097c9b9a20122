"""What the quality gate costs a refresh: refreshes of one small workspace, by turns with it and without."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.week import places, slots_of_week
from tailrace.demo.events import empty_home, land
from tailrace.settings import Settings
from tailrace.workspace.refresh import refresh
from tailrace.workspace.resources import Progress
from tailrace.workspace.workspace import Workspace

WARMING = 4  # refreshes before the first that is counted

Json = dict[str, Any]


def run_gates(settings: Settings, *, refreshes: int, progress: Progress) -> Json:
    """Seconds of refreshes in which rows changed, with the gate and without, and of the gate's own work, in one session."""
    workspace = Workspace(settings=replace(settings, home=settings.home / "gates", **places(settings.home / "gates")))
    empty_home(workspace.settings)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    own: list[float] = []
    rows = 0
    for number, slot in enumerate(slots_of_week(WARMING + refreshes)):
        land(slot, Path(workspace.settings.landing))
        progress(f"refresh {number}")
        with_gate = number % 2 == 0
        workspace.lake.gate = workspace.gate if with_gate else None
        done = refresh(workspace, as_of=slot.as_of)
        if number > WARMING and slot.events:
            seconds[with_gate].append(done.seconds)
            if with_gate:
                own.append(sum(found.seconds for found in done.gates.values()))
                rows += sum(found.rows for found in done.gates.values())
    medians = {with_gate: round(statistics.median(some), 2) for with_gate, some in seconds.items()}
    return {
        "refreshes_with": len(seconds[True]),
        "refreshes_without": len(seconds[False]),
        "rows_judged": rows,
        "seconds_with": medians[True],
        "seconds_without": medians[False],
        "gate_seconds": round(statistics.median(own), 2),
        "share": round(statistics.median(own) / medians[True], 3),
    }
