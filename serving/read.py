"""From entity keys to columns: one item per key is read, each view of it decoded once, and its values fanned out."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pybase64

from contracts.tables import Column as Feature
from online.codec import CodecError, fingerprints
from online.items import Item, read_items
from online.keys import item_keys
from online.wire import StoreClient
from serving.columns import Array, Column, fanned_out, nothing_found
from serving.controls import Controls
from serving.decode import decoded, decoded_apart
from serving.plan import ItemGroup, Plan


class Reader:
    """Reads the features of a plan."""

    def __init__(self, client: StoreClient, controls: Controls) -> None:
        self._client = client
        self._controls = controls

    async def read(self, plan: Plan, ids: dict[str, list[str]]) -> dict[str, Column]:
        """The columns of a plan by `view:feature`, on-demand ones not among them.

        Raises `ItemKeyError` for a key the store cannot hold, `StoreError` where the store cannot be read.
        """
        parts = await asyncio.gather(*(self._read_group(group, plan, ids) for group in plan.groups))
        return {reference: column for part in parts for reference, column in part.items()}

    async def _read_group(self, group: ItemGroup, plan: Plan, ids: dict[str, list[str]]) -> dict[str, Column]:
        keys = item_keys(group.entities, ids)
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        items = await read_items(self._client, places, group.views, consistent=False)
        rows = np.fromiter(map(places.__getitem__, keys), np.intp, len(keys))
        columns: dict[str, Column] = {}
        for view in group.views:
            values, positions = values_of(view, places, items)
            columns |= await self._columns_of(view, plan.wanted[view], values, positions[rows])
        return columns

    async def _columns_of(
        self, view: str, features: Sequence[Feature], values: list[bytes], at: Array
    ) -> dict[str, Column]:
        """Decode a view's values and give each row the one `at` its position; -1 stands for none."""
        codec = self._controls.codec(view)
        if not values:
            return {f"{view}:{feature.name}": nothing_found(feature.type, len(at)) for feature in features}
        try:
            columns = decoded(codec, values, features)
        except CodecError:
            await self._controls.learn(view, fingerprints(values))
            columns, unreadable = decoded_apart(self._controls.known_codecs(view), values, features)
            self._controls.unreadable[view] += unreadable
        names = [f"{view}:{feature.name}" for feature in features]
        return dict(zip(names, fanned_out(columns, at), strict=True))


def values_of(view: str, keys: dict[str, int], items: dict[str, Item]) -> tuple[list[bytes], Array]:
    """A view's values in the order of the keys, and where each key's is among them; -1 where there is none."""
    values: list[bytes] = []
    decode = pybase64.b64decode
    positions = []
    for key in keys:
        attribute = items[key].get(view) if key in items else None
        text = attribute["B"] if attribute else ""
        positions.append(len(values) if text else -1)
        if text:  # an empty value is a tombstone
            values.append(decode(text))
    return values, np.array(positions, np.intp)
