"""The data files that came and went between two versions of a Delta table, by the commits in its log; plain Python.

A commit that only rearranges rows, such as OPTIMIZE, says so, and its files do not count. A file that keeps its path and
gets another deletion vector goes as it was and comes as it is.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tailrace.lake.delta_log import HistoryLost

Actions = list[dict[str, Any]]
PHYSICAL_NAME = "delta.columnMapping.physicalName"
CHANGE_FEED = "delta.enableChangeDataFeed"


@dataclass(frozen=True, kw_only=True)
class SignedFile:
    """A data file whose rows came (+1) or went (-1), as the log's action `add`, and a version whose columns and protocol read it."""

    sign: int
    version: int
    add: dict[str, Any] = field(hash=False)

    @property
    def path(self) -> str:
        """Where it lies, as the log writes it."""
        return str(self.add["path"])


def signed_files(
    commits: Mapping[int, Actions], *, since: int, schema: str, columns: Collection[str]
) -> list[SignedFile]:
    """The files that came and went in commits after version `since`, whose columns were `schema`; those that did both cancel.

    Raises `HistoryLost` where a column among `columns` is not the same one throughout, or a commit does not describe a file.
    """
    named = identities(schema, columns, version=since)
    layout, first_version = (schema, ""), {(schema, ""): since}
    net: dict[tuple[object, ...], list[SignedFile]] = {}
    for version, actions in commits.items():
        before, layout = layout, layout_after(actions, before=layout)
        if layout != before:
            if identities(layout[0], columns, version=version) != named:
                raise HistoryLost(f"version {version} gave a column that is read another place in the files")
            first_version.setdefault(layout, version)
        for sign, file in changes_of(actions, version=version):
            of = before if sign < 0 else layout
            found = net.setdefault((file["path"], json.dumps(file.get("deletionVector"), sort_keys=True), of), [])
            if found and found[-1].sign == -sign:
                found.pop()
            else:
                found.append(SignedFile(sign=sign, version=first_version[of], add=file))
    return [one for found in net.values() for one in found]


def layout_after(actions: Iterable[Mapping[str, Any]], *, before: tuple[str, str]) -> tuple[str, str]:
    """What files are read by after a commit: the columns, and the protocol, which says whether they have deletion vectors."""
    protocols = (json.dumps(action["protocol"], sort_keys=True) for action in actions if "protocol" in action)
    return columns_given(actions) or before[0], next(protocols, before[1])


def is_laid_out_anew(commits: Mapping[int, Actions]) -> bool:
    """Whether a commit gave the table columns or a protocol, perhaps the same."""
    return any("metaData" in action or "protocol" in action for actions in commits.values() for action in actions)


def columns_given(actions: Iterable[Mapping[str, Any]]) -> str | None:
    """The columns that a commit gave the table; None where it left them."""
    given = (str(action["metaData"]["schemaString"]) for action in actions if "metaData" in action)
    return next(given, None)


def changes_of(actions: Actions, *, version: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The files that a commit removed (-1) and added (+1) for their rows, each as an action `add`."""
    for action in actions:
        for sign, kind in ((-1, "remove"), (1, "add")):
            file = action.get(kind)
            if file and file.get("dataChange", True):
                yield sign, as_added(file, version=version)


def as_added(file: Mapping[str, Any], *, version: int) -> dict[str, Any]:
    """A file of an action `add` or `remove` as it is to be read; raises `HistoryLost` where the log does not say enough."""
    if file.get("size") is None or file.get("partitionValues") is None:
        raise HistoryLost(f"version {version} does not say the size and the partition of {file['path']}")
    kept = {
        name: file[name] for name in ("path", "partitionValues", "size", "deletionVector") if file.get(name) is not None
    }
    return kept | {"modificationTime": file.get("modificationTime") or 0, "dataChange": True}


def identities(schema: str, columns: Collection[str], *, version: int) -> dict[str, str]:
    """Where files have each of `columns`, by the table's names in lower case.

    That is its physical name, and all that is inside of it. Raises `HistoryLost` for one that is not there.
    """
    there = {str(one["name"]).lower(): one for one in json.loads(schema)["fields"]}
    missing = [name for name in columns if name.lower() not in there]
    if missing:
        raise HistoryLost(f"version {version} has no column {missing[0]!r}")
    return {name: identity(there[name.lower()]) for name in columns}


def identity(column: Mapping[str, Any]) -> str:
    """What makes a column the same in files of before: a type such as INT may become wider, and what is nested may not change."""
    name = column.get("metadata", {}).get(PHYSICAL_NAME, column["name"])
    nested = column["type"] if isinstance(column["type"], dict) else None
    return json.dumps([name, nested], sort_keys=True)


def has_change_feed(commits: Mapping[int, Actions], *, configuration: Mapping[str, str], schema: str) -> str | None:
    """Why the change feed does not lead through commits, after a version with this configuration and these columns; None where
    it does.
    """
    if configuration.get(CHANGE_FEED) != "true":
        return "the table has no change feed"
    for version, actions in commits.items():
        for metadata in (action["metaData"] for action in actions if "metaData" in action):
            if metadata.get("configuration", {}).get(CHANGE_FEED) != "true":
                return f"version {version} turned the change feed off"
            if metadata["schemaString"] != schema:
                return f"version {version} changed the columns"
    return None
