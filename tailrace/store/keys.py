"""Item keys: one item of the store per entity key, whatever characters the ids hold."""

from collections.abc import Mapping, Sequence

from tailrace.errors import UsageError

MAXIMUM_BYTES = 2_048  # of an item key in UTF-8, which every store takes


class ItemKeyError(UsageError):
    """An entity key that the store cannot hold; the message names it."""


def item_keys(entities: Mapping[str, str], ids: Mapping[str, Sequence[str]]) -> list[str]:
    """Make the item keys of many rows.

    `entities` maps entity name to key column, `ids` key column to one id per row. Every id carries its
    length, so that ("1", "23") is not ("12", "3"), and entities stand in the order of their names, so
    that views of the same entities share an item however they declare them.
    """
    names = sorted(entities)
    prefix = "+".join(names) + "|"
    columns = [ids[entities[name]] for name in names]
    if len(columns) == 1:
        keys = [f"{prefix}{len(one)}:{one}" for one in columns[0]]
    else:
        keys = [prefix + "".join(f"{len(one)}:{one}" for one in row) for row in zip(*columns, strict=True)]
    if 4 * max(map(len, keys), default=0) <= MAXIMUM_BYTES:  # of any characters
        return keys
    for key in keys:
        if len(key.encode()) > MAXIMUM_BYTES:
            raise ItemKeyError(
                f"the {'+'.join(names)} key {key[len(prefix) :][:80]!r}… needs {len(key.encode())} bytes as an item key; "
                f"the store takes at most {MAXIMUM_BYTES}: shorten the ids or describe fewer entities together"
            )
    return keys


def ids_of(item_key: str) -> dict[str, str]:
    """Take an item key apart again: id by entity name."""
    prefix, _, rest = item_key.partition("|")
    ids = {}
    for name in prefix.split("+"):
        length, _, rest = rest.partition(":")
        ids[name], rest = rest[: int(length)], rest[int(length) :]
    return ids
