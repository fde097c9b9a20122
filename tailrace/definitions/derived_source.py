"""Derived sources: events that a function makes of each row of another source, with facts that are looked up for it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tailrace.definitions.declared_source import DeclaredSource, EventColumns, EventSource, TableSource
from tailrace.definitions.fields import Field
from tailrace.definitions.fingerprints import derivation_fingerprint
from tailrace.definitions.names import KEY_TYPES, check_name, check_tuple, spelled
from tailrace.errors import DefinitionError
from tailrace.schemas import silver
from tailrace.schemas.tables import Column, Table, Type

ORDINAL = Column("ordinal", Type.INT64, "number of the row among those of its parent, from 0", nullable=False)
DELIVERY_OF_LOOKUPS = {column.name for column in silver.LAST_DELIVERY}
# Takes rows of the parent, with what was looked up for them, and returns rows; a PySpark DataFrame each.
Derivation = Callable[[Any], Any]


@dataclass(frozen=True)
class Lookup:
    """Fields of a table that each parent row gets before the function, by the key that the row names in `on`; null where
    the table has no such key.

    When a row of the table changes, parents that name its key are derived anew. With `follow=False` they keep what they
    were first given, until they name another key.
    """

    table: TableSource
    on: str | tuple[str, ...]
    fields: tuple[str, ...]
    follow: bool = True

    def __post_init__(self) -> None:
        given: object = self.table
        if not isinstance(given, TableSource):
            named = getattr(given, "name", given)
            raise DefinitionError(
                f"a look-up on {self.on!r}: {named!r} is not a TableSource; declare one, which has one row for each key"
            )
        here = f"a look-up of {self.table.name!r}, field"
        check_tuple(self.named_in, str, of=f"{here} 'on'", example="('shop_id', 'product_id')")
        check_tuple(self.fields, str, of=f"{here} 'fields'", example="('category',)")

    @cached_property
    def named_in(self) -> tuple[str, ...]:
        """The columns of the parent that name the key, in the key's order."""
        return (self.on,) if isinstance(self.on, str) else self.on

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """What it adds to a parent row."""
        found = {column.name: column for column in self.table.facts}
        return tuple(Column(name, found[name].type, found[name].meaning) for name in self.fields)

    def check(self, parent: EventColumns, *, of: str) -> None:
        """Raise `DefinitionError` for columns that are missing or do not go together."""
        here = f"{of}, field 'lookups'"
        self.table.check()
        key = self.table.key_columns
        if len(self.named_in) != len(key):
            raise DefinitionError(
                f"{here}: the key of {self.table.name!r} is {', '.join(key)}; 'on' names {', '.join(self.named_in)}"
            )
        if len({*self.named_in}) < len(self.named_in):
            raise DefinitionError(f"{here}: 'on' names a column twice: {', '.join(self.named_in)}")
        types = {column.name: column.type for column in self.table.facts}
        for column, key_column in zip(self.named_in, key, strict=True):
            there = parent.type_of(column)
            if there is not types[key_column]:
                raise DefinitionError(
                    f"{here}: {key_column!r} of {self.table.name!r} is {spelled(types[key_column])}, and {column!r} of the parent "
                    f"is {spelled(there) if there else 'not there'}; name a column of the same type"
                )
        for name in self.fields:
            if name not in types:
                raise DefinitionError(f"{here}: {self.table.name!r} has no field {name!r}; it has {', '.join(types)}")


@dataclass(frozen=True, kw_only=True)
class DerivedSource:
    """Events that `transform` makes of each row of `of`: none, one or several, kept in `silver.<name>`.

    `transform` takes a PySpark DataFrame of parent rows and returns one with the parent's ids, the time and `fields`. It
    sees one row at a time and no other table, so its result for several rows is that for each of them together. `id` names
    columns that are unique among the rows of one parent; without it they are numbered in the order of their values. `time`
    is the column of their time, by default the parent's, and `type` the one that `types=` of aggregations mean.
    """

    name: str
    of: "Events"
    transform: Derivation
    fields: tuple[Field, ...] = ()
    id: str | tuple[str, ...] = ()
    time: str | None = None
    type: str | None = None
    lookups: tuple[Lookup, ...] = ()
    description: str = ""

    unnamed = False  # it counts in the fingerprints of its views
    attributes = None

    def __post_init__(self) -> None:
        here = f"source {self.name!r}, field"
        check_tuple(self.fields, Field, of=f"{here} 'fields'", example="(Field('name', STRING),)")
        check_tuple(
            self.lookups, Lookup, of=f"{here} 'lookups'", example="(Lookup(table, on='key', fields=('name',)),)"
        )
        check_tuple(self.own_ids, str, of=f"{here} 'id'", example="('word',)")

    @cached_property
    def parent_ids(self) -> tuple[str, ...]:
        """The columns that name the parent of a row."""
        return self.of.key_columns

    @cached_property
    def own_ids(self) -> tuple[str, ...]:
        """The columns that tell rows of one parent from each other."""
        given = (self.id,) if isinstance(self.id, str) else self.id
        return given or (ORDINAL.name,)

    @property
    def is_numbered(self) -> bool:
        """Whether Tailrace numbers the rows of each parent."""
        return not self.id

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that are unique together."""
        return (*self.parent_ids, *self.own_ids)

    @cached_property
    def time_column(self) -> str:
        """The column of the time."""
        return self.time or self.of.words.time

    @cached_property
    def returned(self) -> tuple[Column, ...]:
        """What the function returns, and the silver table keeps with the number of the row."""
        of_parent = {column.name: column for column in self.of.facts}
        declared = {one.name for one in self.fields}
        given = (of_parent[name] for name in self.parent_ids)
        own = (one.column(required=self._is_required(one)) for one in self.fields)
        time = of_parent.get(self.time_column)
        return (*given, *((time,) if time and self.time_column not in declared else ()), *own)

    def _is_required(self, one: Field) -> bool:
        return one.required or one.name in {*self.own_ids, self.time_column}

    @cached_property
    def facts(self) -> tuple[Column, ...]:
        """The columns of its silver table."""
        ids, others = self.returned[: len(self.parent_ids)], self.returned[len(self.parent_ids) :]
        return (*ids, *((ORDINAL,) if self.is_numbered else ()), *others)

    @cached_property
    def silver_table(self) -> Table:
        """The table of its rows."""
        patterns = {one.name: one.pattern for one in self.fields}
        checks = (silver.check_of(column, pattern=patterns.get(column.name)) for column in self.facts)
        return silver.derived_table(
            self.name,
            self.facts,
            parent=self.parent_ids,
            key=self.key_columns,
            checks=(check for check in checks if check),
            times=(self.time_column,),
        )

    @property
    def kept_lookups(self) -> tuple[Lookup, ...]:
        """The look-ups that do not follow."""
        return tuple(one for one in self.lookups if not one.follow)

    @cached_property
    def given_table(self) -> Table | None:
        """The table of what parents were first given by look-ups that do not follow; None without any."""
        kept = self.kept_lookups
        if not kept:
            return None
        of_parent = {column.name: column for column in self.of.facts}
        named = dict.fromkeys(name for one in kept for name in one.named_in if name not in self.parent_ids)
        given = (column for one in kept for column in one.columns)
        ids = (of_parent[name] for name in self.parent_ids)
        facts = (*ids, *(of_parent[name] for name in named), *given)
        return silver.derived_table(f"{self.name}_given", facts, parent=self.parent_ids, key=self.parent_ids)

    @cached_property
    def looked_up(self) -> tuple[TableSource, ...]:
        """The tables that it looks up, each once."""
        return tuple({one.table.name: one.table for one in self.lookups}.values())

    @cached_property
    def words(self) -> EventColumns:
        """What its columns mean."""
        return EventColumns(
            id=self.key_columns,
            time=self.time_column,
            type=self.type,
            fields=tuple((column.name, column.type) for column in self.facts),
        )

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the same parents would give other rows."""
        return derivation_fingerprint(self)

    def check(self) -> None:
        """Raise `DefinitionError` for a field that cannot be used, naming source and field."""
        here = f"source {self.name!r}"
        check_name(self.name, of=f"{here}, field 'name'")
        if not isinstance(self.of, EventSource | DerivedSource):
            raise DefinitionError(
                f"{here}, field 'of': give an EventSource or a DerivedSource; rows of a table are looked up, by Lookup(…)"
            )
        self.of.check()
        self._check_fields(here)
        self._check_ids(here)
        for given, named, type_ in (("time", self.time_column, Type.TIMESTAMP), ("type", self.type, Type.STRING)):
            if named is not None and self.words.type_of(named) is not type_:
                raise DefinitionError(
                    f"{here}, field {given!r}: {named!r} is not a column of type {spelled(type_)} among its fields"
                )
        self._check_lookups(here)
        if not callable(self.transform):
            raise DefinitionError(f"{here}, field 'transform': give a function that takes and returns a DataFrame")
        _ = self.fingerprint  # refuses a function that has no form which is the same in every process

    def _check_fields(self, here: str) -> None:
        for one in self.fields:
            one.check(of=here)
            if one.path is not None or one.json:
                raise DefinitionError(f"{here}, field {one.name!r}: path and json go with fields that land")
        names = [column.name for column in self.returned]
        for name in names:
            if names.count(name) > 1:
                raise DefinitionError(f"{here}, field {name!r}: it is there twice; the parent's ids come by themselves")
        if self.is_numbered and ORDINAL.name in names:
            raise DefinitionError(
                f"{here}, field 'id': its parent or its fields have a column {ORDINAL.name!r}, which numbers its rows; "
                "name columns that are unique among the rows of one parent"
            )

    def _check_ids(self, here: str) -> None:
        declared = {one.name: one.type for one in self.fields}
        for name in () if self.is_numbered else self.own_ids:
            if declared.get(name) not in KEY_TYPES:
                raise DefinitionError(f"{here}, field 'id': {name!r} is not one of its fields of {spelled(*KEY_TYPES)}")

    def _check_lookups(self, here: str) -> None:
        known = {name for name, _ in self.of.words.fields}
        for one in self.lookups:
            one.check(self.of.words, of=here)
            for name in one.fields:
                if name in known or name in DELIVERY_OF_LOOKUPS:
                    raise DefinitionError(
                        f"{here}, field 'lookups': the parent or another look-up has a column {name!r}; call that of "
                        f"{one.table.name!r} otherwise, with path='$.{name}'"
                    )
                known.add(name)


Events = EventSource | DerivedSource  # what views aggregate
Source = DeclaredSource | DerivedSource


def with_origins(found: Iterable[object]) -> Iterator[Source]:
    """The sources among values, and all that derived ones are made from, each behind what it is made from."""
    for one in found:
        if isinstance(one, DerivedSource):
            yield from with_origins((one.of, *one.looked_up))
            yield one
        elif isinstance(one, DeclaredSource):
            yield one


def origins(source: Source) -> frozenset[str]:
    """The names of a source and of all that it is made from."""
    return frozenset(one.name for one in with_origins((source,)))
