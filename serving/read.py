"""From entity keys to columns: one item per key is read, each view of it decoded once, and its values fanned out."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pybase64

from contracts.tables import Column as Feature
from online.codec import CodecError, fingerprints
from online.keys import item_keys
from serving.columns import NOWHERE, UNTOLD, Array, Column, fanned_out, not_valued, too_old
from serving.controls import Controls
from serving.decode import decoded, decoded_apart
from serving.fetch import Fetched, Fetches
from serving.plan import Plan
from serving.trip import Trip


class Reader:
    """Reads the features of a plan."""

    def __init__(self, fetches: Fetches, controls: Controls) -> None:
        self._fetches = fetches
        self._controls = controls

    async def read(
        self, plan: Plan, ids: dict[str, list[str]], *, now: int, deadline: float, trip: Trip
    ) -> dict[str, Column]:
        """The columns of a plan by `view:feature`, on-demand ones not among them.

        `now` is microseconds since 1970, `deadline` when the store has to have told, in the event loop's time.
        Raises `ItemKeyError` for a key the store cannot hold, `StoreError` where the store cannot be read.
        """
        keys = {group.views: item_keys(group.entities, ids) for group in plan.groups}
        places = {views: places_of(own) for views, own in keys.items()}
        trip.end("parse")
        fetched = await self._fetches.fetch(places, deadline=deadline)
        trip.end("store")
        columns: dict[str, Column] = {}
        for views, own in keys.items():
            rows = np.fromiter(map(places[views].__getitem__, own), np.intp, len(own))
            for view in views:
                values, positions = values_of(view, places[views], fetched[views])
                read = await self._columns_of(view, plan.wanted[view], values, positions[rows], deadline=deadline)
                outdated = self._controls.is_outdated(view, now=now)
                for feature, column in zip(plan.wanted[view], read, strict=True):
                    columns[f"{view}:{feature.name}"] = too_old(column) if outdated else column
        trip.end("decode")
        return columns

    async def _columns_of(
        self, view: str, features: Sequence[Feature], values: list[bytes], at: Array, *, deadline: float
    ) -> Sequence[Column]:
        """Decode a view's values and give each row the one `at` its position, as `fanned_out` does."""
        codec = self._controls.codec(view)
        if not values:
            return [not_valued(feature.type, at) for feature in features]
        try:
            columns = decoded(codec, values, features)
        except CodecError:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._controls.learn(view, fingerprints(values))
            columns, unreadable = decoded_apart(self._controls.known_codecs(view), values, features)
            self._controls.count_unreadable(view, unreadable)
        return fanned_out(columns, at)


def places_of(keys: Sequence[str]) -> dict[str, int]:
    """Each key once, and its place among them."""
    return {key: place for place, key in enumerate(dict.fromkeys(keys))}


def values_of(view: str, keys: dict[str, int], fetched: Fetched) -> tuple[list[bytes], Array]:
    """A view's values in the order of the keys, and where each key's is among them, as `fanned_out` takes it."""
    values: list[bytes] = []
    decode, items, untold = pybase64.b64decode, fetched.items, fetched.untold
    positions = []
    for key in keys:
        attribute = items[key].get(view) if key in items else None
        text = attribute["B"] if attribute else ""
        if text:
            positions.append(len(values))
            values.append(decode(text))
        else:  # an empty value is a tombstone
            positions.append(UNTOLD if key in untold else NOWHERE)
    return values, np.array(positions, np.intp)
