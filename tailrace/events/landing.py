"""Landing files of an invented organisation and of a git history."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from tailrace.events.documents_from_ids import describe
from tailrace.events.files import refuse_existing, write_lines
from tailrace.events.git_history import read_history, repository_name
from tailrace.events.organisation import Organisation, generate
from tailrace.schemas.landing import DOCUMENTS, EVENTS

LONGEST_NAME = 200  # characters; a file system takes 255 bytes with the suffix


def land_organisation(organisation: Organisation, out: Path) -> dict[str, int]:
    """Land an organisation's documents in one file and its events in one per day; returns events, documents and files."""
    documents, events = generate(organisation)
    files = {out / DOCUMENTS.name / f"workspace-{organisation.end:%Y-%m-%d}.jsonl.gz": documents}
    by_day = defaultdict(list)
    for event in events:
        by_day[event["occurred_at"][: len("2026-01-31")]].append(event)
    files |= {out / EVENTS.name / f"workspace-{day}.jsonl.gz": of_day for day, of_day in by_day.items()}
    return _land(files, events=len(events), documents=len(documents))


def land_history(repository: Path, out: Path) -> dict[str, int]:
    """Land a repository's events and documents in one file each; returns events, documents and files."""
    file_name = f"{_file_name(repository_name(repository))}.jsonl.gz"
    paths = [out / feed.name / file_name for feed in (DOCUMENTS, EVENTS)]
    refuse_existing(paths)
    events = read_history(repository)
    documents = describe(events)
    return _land(dict(zip(paths, (documents, events), strict=True)), events=len(events), documents=len(documents))


def _land(files: dict[Path, list[dict[str, Any]]], *, events: int, documents: int) -> dict[str, int]:
    refuse_existing(files)
    for path, rows in files.items():
        write_lines(rows, path)
    return {"events": events, "documents": documents, "files": len(files)}


def _file_name(name: str) -> str:
    """A name without what Hadoop's paths forbid, such as colons, or what readers pass over, such as a dot in front."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:LONGEST_NAME].lstrip("._-") or "history"
