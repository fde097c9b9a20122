"""Events in a landing folder, and the views that are made of them."""

import json
from pathlib import Path

TWO_VIEWS = Path(__file__).parent / "two_views"


def event(number, **changed):
    base = {"event_id": f"e{number}", "event_type": "view", "actor_id": "u1", "document_id": "d1"}
    return base | {"occurred_at": "2026-03-10T11:50:00Z"} | changed


def land(home, name, *events):
    folder = home / "landing" / "events"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}"
    partial.write_text("".join(json.dumps(one) + "\n" for one in events))
    partial.rename(folder / name)
