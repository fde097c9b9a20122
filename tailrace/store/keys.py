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
    keys = spelled_keys(entities, ids)
    if 4 * max(map(len, keys), default=0) > MAXIMUM_BYTES:  # of any characters
        for key in keys:
            if is_too_long(key):
                raise ItemKeyError(why_too_long(key))
    return keys


def spelled_keys(entities: Mapping[str, str], ids: Mapping[str, Sequence[str]]) -> list[str]:
    """Item keys as `item_keys` makes them, also those that no store takes."""
    names = sorted(entities)
    prefix = "+".join(names) + "|"
    columns = [ids[entities[name]] for name in names]
    if len(columns) == 1:
        return [f"{prefix}{len(one)}:{one}" for one in columns[0]]
    return [prefix + "".join(f"{len(one)}:{one}" for one in row) for row in zip(*columns, strict=True)]


def is_too_long(item_key: str) -> bool:
    """Whether no store takes an item key."""
    return len(item_key.encode()) > MAXIMUM_BYTES


def why_too_long(item_key: str) -> str:
    """What is wrong with such a key, and what to do."""
    names, _, spelled = item_key.partition("|")
    return (
        f"the {names} key {spelled[:80]!r}… needs {len(item_key.encode())} bytes as an item key; "
        f"the store takes at most {MAXIMUM_BYTES}: shorten the ids or describe fewer entities together"
    )


def ids_of(item_key: str) -> dict[str, str]:
    """Take an item key apart again: id by entity name."""
    prefix, _, rest = item_key.partition("|")
    ids = {}
    for name in prefix.split("+"):
        length, _, rest = rest.partition(":")
        ids[name], rest = rest[: int(length)], rest[int(length) :]
    return ids
