"""Rows of events as Spark hands them to a task, and the keys that they are about in each view."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from jobs.streaming.state import Array, Changes, Events
from tailrace.definitions import FeatureView
from tailrace.store.keys import item_keys

AMOUNTS = ("line", "minute", "amount")


@dataclass(frozen=True, kw_only=True)
class Keyed:
    """By view, the item keys that rows are about, and the place of each row's among them."""

    keys: dict[str, list[str]]
    places: dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The item keys of a view that change, and what changes, each by the place of its key among them."""

    keys: list[str]
    changes: Changes


def whole(parts: Iterable[pa.RecordBatch]) -> pd.DataFrame | None:
    frames = [part.to_pandas() for part in parts if part.num_rows]
    return pd.concat(frames, ignore_index=True) if frames else None


def keyed(rows: pd.DataFrame, views: Sequence[FeatureView]) -> Keyed:
    ids = {key: rows[key].tolist() for key in ("actor_id", "document_id")}
    places, keys = {}, {}
    for view in views:
        of_rows = item_keys({one.name: one.key for one in view.entities}, ids)
        places[view.name], found = pd.factorize(np.array(of_rows, object))
        keys[view.name] = list(found)
    return Keyed(keys=keys, places=places)


def events_of(rows: pd.DataFrame, key: Array) -> Events:
    """Events of rows, `key` being the place of the pair of each."""
    return Events(
        key=key,
        id=rows["event_id"].tolist(),
        type=rows["event_type"].to_numpy(object),
        at=rows["at"].to_numpy(np.int64),
    )


def changes_of_rows(rows: pd.DataFrame, key: Array) -> Changes:
    """Changes of rows, `key` being the place of the key of each."""
    line, minute, amount = (rows[name].to_numpy(np.int64) for name in AMOUNTS)
    return Changes(key=key.astype(np.int64), line=line, minute=minute, amount=amount)


def with_keys(changes: Changes, keys: Sequence[str]) -> Changed:
    """Changes with those of the keys alone that they are of."""
    places, key = np.unique(changes.key, return_inverse=True)
    return Changed(keys=[keys[place] for place in places.tolist()], changes=replace(changes, key=key))
