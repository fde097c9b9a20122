"""Refresh state: what a table was computed from, committed atomically with the data it describes."""

import json
from dataclasses import dataclass
from typing import Any

STATE_KEY = "tailrace"


@dataclass(frozen=True)
class State:
    """A state, the version whose commit carries it, and the version which that commit read."""

    values: dict[str, Any]
    version: int
    read_version: int | None


def to_metadata(values: dict[str, Any]) -> str:
    """State as the user metadata of a Delta commit."""
    return json.dumps({STATE_KEY: values}, sort_keys=True)


def state_of_commit(log_file: str, version: int) -> State | None:
    """The state in a commit of the Delta log; None for a commit that is not ours, such as OPTIMIZE."""
    for line in log_file.splitlines():
        commit = json.loads(line).get("commitInfo")
        if commit is None:
            continue
        values = parse_metadata(commit.get("userMetadata"))
        return None if values is None else State(values, version, commit.get("readVersion"))
    return None


def parse_metadata(text: str | None) -> dict[str, Any] | None:
    try:
        metadata = json.loads(text or "null")
    except json.JSONDecodeError:
        return None
    values = metadata.get(STATE_KEY) if isinstance(metadata, dict) else None
    return values if isinstance(values, dict) else None
