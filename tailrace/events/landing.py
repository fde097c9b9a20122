"""Landing files of an invented organisation and of a git history, with documents for events that come without any."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tailrace.events.draws import from_text
from tailrace.events.files import refuse_existing, write_lines
from tailrace.events.git_history import read_history, repository_name
from tailrace.events.organisation import Organisation, generate

EVENTS, DOCUMENTS = "events", "documents"  # the feeds
EXTENSION = re.compile("[a-z0-9_]{1,63}")
NO_EXTENSION = "file"
LONGEST_NAME = 200  # characters; a file system takes 255 bytes with the suffix


def describe(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Describe each document that events name, in the order of their first events; size and owner stay unknown.

    An id reads as `repository:folder/folder/title.type`. An event without a text for an id or without a readable
    time names nothing: it ends in quarantine.
    """
    documents: dict[str, dict[str, Any]] = {}
    for event in events:
        document_id, occurred_at = event.get("document_id"), event.get("occurred_at")
        if isinstance(document_id, str) and document_id not in documents and from_text(occurred_at) is not None:
            documents[document_id] = _document(document_id, updated_at=occurred_at)
    return list(documents.values())


def _document(document_id: str, *, updated_at: object) -> dict[str, Any]:
    path = document_id.partition(":")[2] if ":" in document_id else document_id
    *folders, title = [part for part in path.split("/") if part.strip()] or [document_id]
    return {
        "id": document_id,
        "title": title,
        "type": _type(title),
        "folder": "/" + "/".join(folders),
        "updated_at": updated_at,
    }


def _type(title: str) -> str:
    """The extension of a file's name; a dot at its start, as in .gitignore, begins none."""
    stem, _, extension = title.rpartition(".")
    extension = extension.lower()
    return extension if stem and EXTENSION.fullmatch(extension) else NO_EXTENSION


def land_organisation(organisation: Organisation, out: Path) -> dict[str, int]:
    """Land an organisation's documents in one file and its events in one per day; returns events, documents and files."""
    documents, events = generate(organisation)
    files = {out / DOCUMENTS / f"workspace-{organisation.end:%Y-%m-%d}.jsonl.gz": documents}
    by_day = defaultdict(list)
    for event in events:
        by_day[event["occurred_at"][: len("2026-01-31")]].append(event)
    files |= {out / EVENTS / f"workspace-{day}.jsonl.gz": of_day for day, of_day in by_day.items()}
    return _land(files, events=len(events), documents=len(documents))


def land_history(repository: Path, out: Path) -> dict[str, int]:
    """Land a repository's events and documents in one file each; returns events, documents and files."""
    file_name = f"{_file_name(repository_name(repository))}.jsonl.gz"
    paths = [out / feed / file_name for feed in (DOCUMENTS, EVENTS)]
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
