"""Documents of events that come without any: described by their ids alone."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tailrace.events.draws import from_text

EXTENSION = re.compile("[a-z0-9_]{1,63}")
NO_EXTENSION = "file"


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
