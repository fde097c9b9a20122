"""Entities: the things that features describe."""

from dataclasses import dataclass

from tailrace.definitions.problem import check_name


@dataclass(frozen=True)
class Entity:
    """A thing with an id, such as a document; `key` is the column that holds the id."""

    name: str
    key: str
    description: str

    def __post_init__(self) -> None:
        check_name(self.name, of="an entity's name")
        check_name(self.key, of=f"entity {self.name!r}, field 'key'")
