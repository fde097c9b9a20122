"""One row of a view, from gold or from the online store."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from tailrace.definitions import BatchView, FeatureView
from tailrace.errors import CommandError
from tailrace.schemas.ids import Key, NotAnIdError, key_of_text, key_text
from tailrace.schemas.slots import to_text
from tailrace.store.address import with_store
from tailrace.store.codec import Codec
from tailrace.store.keys import item_keys
from tailrace.store.port import Store
from tailrace.workspace.resources import Resources

Row = dict[str, Any]


def look_up(workspace: Resources, view: FeatureView, ids: Sequence[Key], *, source: str) -> Row | None:
    """A row's features by name, times as text; None if the row does not exist or is not online."""
    key = key_texts(view, ids)
    if source == "gold":
        return from_gold(workspace, view, key)
    if source == "store":
        return from_store(workspace, view, key)
    raise CommandError(f"--from {source} is not known; take gold or store")


def key_texts(view: FeatureView, ids: Sequence[Key]) -> dict[str, str]:
    """The text of each id by key column; raises `CommandError` for ids that the view's entities cannot have."""
    if len(ids) != len(view.keys):
        raise CommandError(f"view {view.name} is keyed by {', '.join(view.keys)}; give {len(view.keys)} ids")
    found = {}
    for entity, own in zip(view.entities, ids, strict=True):
        try:
            found[entity.key] = key_text(own, entity.type)
        except NotAnIdError as error:
            raise CommandError(f"view {view.name}, key {entity.key} of {entity.name}: {own!r:.80} {error}") from error
    return found


def gold_of(workspace: Resources, view: FeatureView) -> DataFrame:
    """A view's gold; raises for one that has none."""
    if not isinstance(view, BatchView):
        raise CommandError(
            f"view {view.name} is of the lane {view.lane}: it has no gold; `tailrace get` reads the store"
        )
    return workspace.lake.read(view.table)


def export(workspace: Resources, view: FeatureView, out: Path) -> Row:
    """Write a view's gold as Parquet files into a new folder; returns the view, how many rows, and the folder."""
    if out.exists():
        raise CommandError(f"{out} exists; give a folder that does not")
    rows = gold_of(workspace, view).select(*view.keys, *view.feature_names)
    rows.write.parquet(str(out.absolute()))
    return {"view": view.name, "rows": rows.count(), "out": str(out)}


def from_gold(workspace: Resources, view: FeatureView, key: dict[str, str]) -> Row | None:
    rows = gold_of(workspace, view)
    for entity in view.entities:
        rows = rows.where(F.col(entity.key) == F.lit(key_of_text(key[entity.key], entity.type)))
    row = rows.select(*view.feature_names).first()
    return None if row is None else {name: as_text(value) for name, value in row.asDict().items()}


def from_store(workspace: Resources, view: FeatureView, key: dict[str, str]) -> Row | None:
    entities = {entity.name: entity.key for entity in view.entities}
    item_key = item_keys(entities, {name: [value] for name, value in key.items()})[0]

    async def read(store: Store) -> bytes | None:
        return (await store.read_values(view.name, [item_key])).get(item_key)

    value = with_store(workspace.store, read)
    if not value:
        return None
    columns = Codec(view.name, view.features).decode([value]).columns
    return {
        name: as_text(column.values[:1].tolist()[0]) if column.valid[0] else None
        for name, column in zip(view.feature_names, columns, strict=True)
    }


def as_text(value: Any) -> Any:
    """Times and days as text; Spark and numpy give times in UTC without saying so."""
    if type(value) is date:
        return value.isoformat()
    if not isinstance(value, datetime):
        return value
    return to_text(value.replace(tzinfo=UTC) if value.tzinfo is None else value)
