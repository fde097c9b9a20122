"""Sources: what a home reads, as definitions declare it; each becomes a feed, a bronze and a silver table."""

import importlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tailrace.definitions.fields import Delta, Field, Kafka, Landing, Time
from tailrace.definitions.names import KEY_TYPES, check_name, check_tuple, spelled
from tailrace.errors import DefinitionError
from tailrace.schemas import bronze, silver
from tailrace.schemas.expectations import HOLDS, Expectation, expect
from tailrace.schemas.landing import UTC_ZONE, Feed, FeedField
from tailrace.schemas.tables import Column, Table, Type

SHIPPED_SOURCES = "tailrace.shipped.sources"
ROW_ID = "row_id"  # of a source without ids
# What reports of loads have next to the rows of each source.
RESERVED_NAMES = {"quarantined", "waiting", "unread_folders", "extra_fields", "all_read", "recount", "gates"}
Reading = Landing | Kafka | Delta


@dataclass(frozen=True, kw_only=True)
class DeclaredSource:
    """What `EventSource` and `TableSource` have in common.

    `name` is that of the folder below the landing folder and of the bronze table, and of the silver table unless `silver`
    names another.
    """

    name: str
    fields: tuple[Field, ...]
    read_from: Reading | tuple[Reading, ...] = field(default_factory=Landing)
    description: str = ""
    silver: str = ""

    def __post_init__(self) -> None:
        here = f"source {self.name!r}, field"
        check_tuple(self.fields, Field, of=f"{here} 'fields'", example="(Field('name', STRING),)")
        check_tuple(self.readings, Reading, of=f"{here} 'read_from'", example="(Landing(), Kafka('topic'))")

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that deliveries of the same thing have in common."""
        raise NotImplementedError(f"{type(self).__name__} lacks its part 'key_columns'")

    @cached_property
    def columns(self) -> tuple[Field, ...]:
        """Its fields, with those that are declared apart from them."""
        return self.fields

    @property
    def row_id(self) -> str | None:
        """The column for a digest of the row; None where rows have ids."""
        return None

    @property
    def times(self) -> tuple[str, ...]:
        """The columns by which ranges of silver are read."""
        return tuple(one.name for one in self.columns if one.type is Type.TIMESTAMP)

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """What is expected of a load as a whole."""
        return ()

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """Where it is read from."""
        return self.read_from if isinstance(self.read_from, tuple) else (self.read_from,)

    @property
    def delta(self) -> Delta | None:
        """The table whose rows are those of the source; None where it lands."""
        return next((one for one in self.readings if isinstance(one, Delta)), None)

    @cached_property
    def facts(self) -> tuple[Column, ...]:
        """The columns of bronze and silver, without those of the delivery."""
        own = (one.column(required=self.is_required(one)) for one in self.columns)
        if self.row_id is None:
            return tuple(own)
        return (Column(self.row_id, Type.STRING, "digest of all the fields", nullable=False), *own)

    @cached_property
    def silver_table(self) -> Table:
        """The table with the last delivery of each key, or with the rows of the table that the source reads."""
        declared = {one.name: one for one in self.columns}
        patterns = {name: one.pattern for name, one in declared.items()}
        checks = (silver.check_of(column, pattern=patterns.get(column.name)) for column in self.facts)
        rules = {"checks": tuple(check for check in checks if check), "times": self.times}
        name, key = self.silver or self.name, self.key_columns
        if self.delta is None:
            return silver.last_delivery_table(name, self.facts, key=key, **rules)
        return silver.derived_table(name, self.facts, parent=key, key=key, **rules)

    def is_required(self, one: Field) -> bool:
        """Whether a line without a field is refused."""
        return one.required or one.name in self.key_columns

    def feed(self, *, ids: Collection[str] = ()) -> Feed:
        """How its lines are read; `ids` are further columns that hold ids, as the keys of views do."""
        return Feed(
            name=self.name,
            fields=tuple(self.feed_field(one, ids=ids) for one in self.columns),
            table=bronze.landed_table(self.name, self.facts, expectations=self.expectations),
            silver=self.silver_table,
            row_id=self.row_id,
            lands=any(isinstance(one, Landing) for one in self.readings),
        )

    def feed_field(self, one: Field, *, ids: Collection[str]) -> FeedField:
        """How one of its fields is read."""
        is_id = one.type is Type.STRING and not one.json and (one.id or one.name in self.key_columns or one.name in ids)
        return FeedField(
            column=one.column(required=self.is_required(one)),
            path=one.parts,
            is_id=is_id,
            is_object=one.json,
            pattern=one.pattern,
        )

    def check(self) -> None:
        """Raise `DefinitionError` for what cannot be read, naming source and field."""
        here = f"source {self.name!r}"
        check_name(self.name, of=f"{here}, field 'name'")
        check_name(self.silver or self.name, of=f"{here}, field 'silver'")
        reserved = [table.name for table in bronze.TABLES]
        if self.name in reserved:
            raise DefinitionError(f"{here}, field 'name': bronze has a table of that name; choose another")
        if self.name in RESERVED_NAMES:
            raise DefinitionError(
                f"{here}, field 'name': reports have a figure of that name, as they have {', '.join(sorted(RESERVED_NAMES))}; choose another"
            )
        if not self.fields:
            raise DefinitionError(f"{here}, field 'fields': name at least one")
        names = [one.name for one in self.columns]
        for one in self.columns:
            one.check(of=here)
            if names.count(one.name) > 1:
                raise DefinitionError(f"{here}, field {one.name!r}: it is there twice")
        kinds = [type(one) for one in self.readings]
        if len(set(kinds)) < len(kinds):
            raise DefinitionError(
                f"{here}, field 'read_from': a source reads one topic and one folder; declare another"
            )
        if self.delta is not None:
            self.delta.check(of=here)
            if len(self.readings) > 1:
                raise DefinitionError(
                    f"{here}, field 'read_from': the rows of a table are all that its source has; declare another source for "
                    "what lands"
                )
        if not self.readings:
            raise DefinitionError(f"{here}, field 'read_from': say where it is read from, such as Landing()")


@dataclass(frozen=True, kw_only=True)
class EventColumns:
    """What the columns of a source of events mean, for aggregations.

    `type` is the column that `types` of an aggregation are looked up in, and `attributes` the one with further facts as a
    JSON object; None where the source has none.
    """

    id: tuple[str, ...]
    time: str
    type: str | None = None
    attributes: str | None = None
    fields: tuple[tuple[str, Type], ...] = ()

    def type_of(self, name: str) -> Type | None:
        """The type of a column; None where there is none of that name."""
        return dict(self.fields).get(name)


@dataclass(frozen=True, kw_only=True)
class EventSource(DeclaredSource):
    """Things that happened, each with an id and a time. A later delivery of an id replaces an earlier one.

    `id` names one or several columns, which are STRING unless `fields` says otherwise; None takes a digest of all fields, and
    rows that are alike are one event. `type` is the column that `types=` of aggregations mean, and `attributes` a JSON object
    in which they find numbers that are no columns. `silver` names the silver table, where it is not called as the source is.
    `unnamed` is for the shipped events only, whose views had fingerprints before views named a source.
    """

    id: str | tuple[str, ...] | None
    time: Time
    type: str | None = None
    attributes: str | None = None
    unnamed: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        here = f"source {self.name!r}, field"
        if self.id is not None:
            check_tuple(self.key_columns, str, of=f"{here} 'id'", example="('order_id', 'line')")
        if not isinstance(self.time, Time):
            raise DefinitionError(f"{here} 'time': write time=Time({self.time!r})")

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        if self.id is None:
            return (ROW_ID,)
        return (self.id,) if isinstance(self.id, str) else self.id

    @property
    def row_id(self) -> str | None:
        return ROW_ID if self.id is None else None

    @property
    def times(self) -> tuple[str, ...]:
        return (self.time.name,)

    @cached_property
    def columns(self) -> tuple[Field, ...]:
        """Its fields, before them ids that are not among them, and the time where it is not."""
        declared = {one.name for one in self.fields}
        ids = () if self.id is None else self.key_columns
        new_ids = (Field(name, Type.STRING, "the event's id", id=True) for name in ids if name not in declared)
        time = Field(self.time.name, Type.TIMESTAMP, self.time.description, path=self.time.path)
        return (*new_ids, *(() if time.name in declared else (time,)), *self.fields)

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        """Small batches say nothing of the kind."""
        # A clock that was lost says 1970.
        old = expect(HOLDS, column=f"{self.time.name} >= '1990-01-01'", value_set=[True], mostly=0.5, least_rows=100)
        if len(self.key_columns) > 1 or self.id is None:
            return (old,)
        # Deliveries come again now and then; a producer that sends one event for ever is broken.
        share = "expect_column_proportion_of_unique_values_to_be_between"
        return (expect(share, column=self.key_columns[0], min_value=0.1, least_rows=1_000), old)

    @cached_property
    def words(self) -> EventColumns:
        """What its columns mean."""
        return EventColumns(
            id=self.key_columns,
            time=self.time.name,
            type=self.type,
            attributes=self.attributes,
            fields=tuple((column.name, column.type) for column in self.facts),
        )

    def is_required(self, one: Field) -> bool:
        return super().is_required(one) or one.name == self.time.name

    def feed_field(self, one: Field, *, ids: Collection[str]) -> FeedField:
        read = super().feed_field(one, ids=ids)
        if one.name != self.time.name:
            return replace(read, may_be_ahead=one.type is Type.TIMESTAMP)
        return replace(read, unit=self.time.unit, zone=self.time.zone or UTC_ZONE)

    def check(self) -> None:
        here = f"source {self.name!r}"
        super().check()
        self.time.check(of=here)
        found = {one.name: one for one in self.columns}
        if self.time.path and self.time.name in {one.name for one in self.fields}:
            raise DefinitionError(
                f"{here}, field {self.time.name!r}: it is the time, and declared twice; give 'path' to the field"
            )
        if found[self.time.name].type is not Type.TIMESTAMP:
            raise DefinitionError(f"{here}, field {self.time.name!r}: it is the time, so declare it as TIMESTAMP")
        for name in self.key_columns if self.id is not None else ():
            if found[name].type not in KEY_TYPES or found[name].json:
                raise DefinitionError(
                    f"{here}, field 'id': {name!r} is of {spelled(found[name].type)}, and an id is one of {spelled(*KEY_TYPES)}"
                )
        for given, named in (("type", self.type), ("attributes", self.attributes)):
            if named is not None and (named not in found or found[named].type is not Type.STRING):
                raise DefinitionError(f"{here}, field {given!r}: {named!r} is not a STRING among its fields")


@dataclass(frozen=True, kw_only=True)
class TableSource(DeclaredSource):
    """Facts by key, of which the last delivery counts, such as one row for each document.

    `key` names one or several of the `fields`. `silver` names the silver table, where it is not called as the source is.
    """

    key: str | tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tuple(self.key_columns, str, of=f"source {self.name!r}, field 'key'", example="('shop_id', 'product_id')")

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    def check(self) -> None:
        super().check()
        found = {one.name: one for one in self.columns}
        for name in self.key_columns:
            here = f"source {self.name!r}, field 'key'"
            if name not in found:
                raise DefinitionError(f"{here}: {name!r} is not among its fields; add Field({name!r}, …) to them")
            if found[name].type not in KEY_TYPES or found[name].json:
                raise DefinitionError(
                    f"{here}: {name!r} is of {spelled(found[name].type)}, and a key is one of {spelled(*KEY_TYPES)}"
                )


def shipped_sources() -> tuple[DeclaredSource, ...]:
    """The sources that come with Tailrace: those of definitions that declare none."""
    module: Any = importlib.import_module(SHIPPED_SOURCES)
    return tuple(sources_in(vars(module).values()))


def sources_in(values: Collection[object]) -> Iterator[DeclaredSource]:
    """The sources among values, those of events first, in the order of their names."""
    found = {one.name: one for one in values if isinstance(one, DeclaredSource)}
    return iter(sorted(found.values(), key=lambda one: (not isinstance(one, EventSource), one.name)))
