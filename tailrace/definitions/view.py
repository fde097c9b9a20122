"""Feature views: one row of features per entity key, in one attribute of the store. Each lane has a class of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from types import UnionType
from typing import Any, ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation, check_aggregation, check_texts
from tailrace.definitions.declared_source import EventSource, TableSource, shipped_sources
from tailrace.definitions.derived_source import Events
from tailrace.definitions.fingerprints import definition_fingerprint, digest, schema_fingerprint
from tailrace.definitions.names import Entity, check_name, check_tuple, spelled
from tailrace.definitions.services import OnDemandFeature
from tailrace.definitions.sql_condition import check_condition
from tailrace.errors import DefinitionError
from tailrace.schemas import view_tables
from tailrace.schemas.expectations import Expectation
from tailrace.schemas.tables import Column

# Lanes: the ways by which a view's values come into the online store.
BATCH = "batch"  # refreshed from silver, by way of gold
STREAM = "stream"  # kept by the stream from each event within seconds; what is stored does not depend on the clock
DIRECT = "direct"  # written to the store by whoever has the values

# Names that Tailrace keeps for itself, and what has them.
RESERVED = {
    "pk": "the key of the online store's items",
    view_tables.SCHEMAS.name: f"the table {view_tables.SCHEMAS.full_name}",
}

# Fields of a view that are tuples: of what, and how they are written.
TUPLES: tuple[tuple[str, type | UnionType, str], ...] = (
    ("entities", Entity, "(DOCUMENT,)"),
    ("aggregations", Aggregation, "(Count(name='opens', over=('24h',)),)"),
    ("transform_features", Column, "(Feature('size', INT64, 'its size'),)"),
    ("written_features", Column, "(Feature('score', FLOAT64, 'from a model'),)"),
    ("expectations", Expectation | str, "('opens_24h >= 0',)"),
)

# A transform takes silver tables by name (and `as_of`, if it wants) and returns keys and features.
Transform = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """Features of one entity key, declared by `aggregations` over events (in the lane `stream` over short windows,
    which the stream keeps), computed by `transform`, or, in the lane `direct`, written to the online store by whoever has them, as `written_features`.

    A transform may come with `changed_keys`: given the change feed of each table that the transform takes, by the same
    names, it returns the keys whose rows may have changed, and only these are computed anew.
    Aggregations are over the events of a `source`, those that meet `where`, a SQL condition over its fields (null
    is not met); an event whose key is null counts in no row.
    `online_when` is a SQL condition over the features; rows that do not meet it stay in gold and are
    absent from the store. `freshness` is how old the view's watermark may be before it misses its purpose, and `max_age`
    how old before the reader withholds the values: rankers get `OUTSIDE_MAX_AGE` instead.
    `expectations` stop a refresh before rows that do not meet them are committed: SQL conditions over keys and features
    that every row meets, or `expect(...)`, with what follows from the aggregations.

    `FeatureView(...)` gives an object of its lane's class: `BatchView`, `StreamView` or `DirectView`.
    """

    kinds: ClassVar[dict[str, type["FeatureView"]]] = {}
    has_gold: ClassVar[bool] = False
    takes_writes: ClassVar[bool] = False  # of values, from outside

    name: str
    entities: tuple[Entity, ...]
    owner: str
    description: str
    freshness: timedelta
    max_age: timedelta | None = None
    aggregations: tuple[Aggregation, ...] = ()
    transform: Transform | None = None
    transform_features: tuple[Column, ...] = ()
    written_features: tuple[Column, ...] = ()
    changed_keys: Transform | None = None
    source: Events | None = None
    where: str | None = None
    online_when: str | None = None
    expectations: tuple[Expectation | str, ...] = ()
    lane: str = BATCH

    def __init_subclass__(cls) -> None:
        """A class that names a lane is the kind of its views."""
        if "lane" in vars(cls):
            FeatureView.kinds[cls.lane] = cls

    def __new__(cls, **declared: Any) -> "FeatureView":
        """An object of the class for the lane; raises `DefinitionError` for a lane that is not known."""
        lane = declared.get("lane", cls.lane)
        kind = cls.kinds.get(lane)
        if kind is None:
            name, known = declared.get("name"), ", ".join(cls.kinds)
            raise DefinitionError(f"view {name!r}, field 'lane': {lane!r} is not a lane; there are {known}")
        if issubclass(cls, kind) or issubclass(kind, cls):
            return object.__new__(cls if issubclass(cls, kind) else kind)
        return kind(**declared)  # `replace` with another lane; Python initialises objects of `cls` only

    def __post_init__(self) -> None:
        here = f"view {self.name!r}"
        for name, kind, example in TUPLES:
            check_tuple(getattr(self, name), kind, of=f"{here}, field {name!r}", example=example)
        for line in self.aggregations:
            check_texts(line, here=here)
        for name in ("freshness", "max_age"):
            if not isinstance(getattr(self, name), timedelta | None):
                raise DefinitionError(f"{here}, field {name!r}: give a timedelta, such as timedelta(hours=1)")
        if isinstance(self.source, TableSource):
            raise DefinitionError(
                f"{here}, field 'source': {self.source.name!r} is a TableSource, whose rows are not events; name an EventSource or "
                f"a DerivedSource, or compute the view by a transform that takes {self.source.silver_table.name!r}"
            )
        if not isinstance(self.source, Events | None):
            raise DefinitionError(
                f"{here}, field 'source': give an EventSource or a DerivedSource, not {self.source!r}"
            )

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """What the ids of its entities are called."""
        return tuple(entity.key for entity in self.entities)

    @cached_property
    def event_source(self) -> Events:
        """The source whose events it aggregates: that of the shipped definitions unless it names one."""
        if self.source is not None:
            return self.source
        return next(one for one in shipped_sources() if isinstance(one, EventSource))

    @property
    def features(self) -> tuple[Column, ...]:
        """What gold and the store have of a key, in order."""
        raise NotImplementedError(f"{type(self).__name__} lacks its part 'features'")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of `features`."""
        return tuple(feature.name for feature in self.features)

    @property
    def public_names(self) -> tuple[str, ...]:
        """The features that rankers may ask for."""
        return self.feature_names

    @property
    def windows(self) -> Mapping[str, OnDemandFeature]:
        """On-demand features that the view brings along, by name."""
        return {}

    @property
    def inputs(self) -> tuple[str, ...]:
        """The silver tables that the view is computed from, by name."""
        raise NotImplementedError(f"{type(self).__name__} lacks its part 'inputs'")

    @cached_property
    def base_views(self) -> tuple[str, ...]:
        """The views that must be refreshed before this one."""
        return tuple(dict.fromkeys(line.base_view for line in self.aggregations if line.base_view))

    @property
    def wants_as_of(self) -> bool:
        """Whether equal inputs may give other rows at another as-of."""
        return True

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change when names, order or types of the features do."""
        return schema_fingerprint(self.features)

    @cached_property
    def definition_fingerprint(self) -> str:
        """Changes when gold would have other rows for the same inputs.

        A transform counts with all of its file, and with the modules of the same folder that the file imports.
        """
        return definition_fingerprint(self)

    @cached_property
    def publication_fingerprint(self) -> str:
        """Changes when the store would have other values or other rows for the same gold."""
        return digest(f"{self.fingerprint} {self.online_when}")

    @property
    def why_no_past(self) -> str:
        """Why the values of past times cannot be computed; empty if they can."""
        return ""

    def unready(self, pushed: str | None) -> str:
        """Why a reader cannot serve values of a schema, None for no values; empty if it can."""
        return "" if pushed is None else self._unlike(pushed, again="write all of it again")

    def _unlike(self, pushed: str, *, again: str) -> str:
        if pushed == self.fingerprint:
            return ""
        return f"pushed under schema {pushed}, defined with {self.fingerprint}; {again}"

    def check(self, views: Mapping[str, "FeatureView"]) -> None:
        """Raise `DefinitionError` for a field that cannot be used, naming view and field."""
        here = f"view {self.name!r}"
        check_name(self.name, of=f"{here}, field 'name'")
        if self.name in RESERVED:
            raise DefinitionError(f"{here}, field 'name': {RESERVED[self.name]} has that name; choose another")
        if not self.owner:
            raise DefinitionError(f"{here}, field 'owner': say who answers for this view")
        if self.freshness.total_seconds() <= 0:
            raise DefinitionError(f"{here}, field 'freshness': must be above zero")
        if self.max_age is not None and self.max_age < self.freshness:
            raise DefinitionError(f"{here}, field 'max_age': must not be below 'freshness', {self.freshness}")
        self.check_fields()
        self._check_source()
        self._check_keys()
        for line in self.aggregations:
            check_aggregation(line, self, views)
        self._check_feature_names()

    def check_fields(self) -> None:
        """Raise `DefinitionError` for a field that does not go with the lane, or is missing there."""

    def check_base_view(self, base: "FeatureView", *, of: str) -> None:
        """Raise `DefinitionError` for a view whose rows this one cannot count; the message begins with `of`."""
        raise DefinitionError(f"{of}: a view of the lane {self.lane} counts no rows of others, as of {base.name!r}")

    def given(self, names: Iterable[str]) -> tuple[str, ...]:
        """The fields among these that were declared."""
        return tuple(name for name in names if getattr(self, name) not in {None, ()})

    def refuse_written_features(self) -> None:
        """Raise `DefinitionError` for features that are written to a view that is computed."""
        if self.written_features:
            raise DefinitionError(f"view {self.name!r}, field 'written_features': goes with lane={DIRECT!r}")

    def _check_keys(self) -> None:
        here = f"view {self.name!r}, field 'entities'"
        if not self.entities:
            raise DefinitionError(f"{here}: a view describes at least one entity")
        if len(set(self.keys)) < len(self.keys):
            raise DefinitionError(
                f"{here}: {', '.join(self.keys)} names a key twice; declare an entity for each, with "
                "a name and a key of its own, as in Entity('origin', key='origin_id', column='…')"
            )
        columns = [entity.column for entity in self.entities]
        if len(set(columns)) < len(columns):
            raise DefinitionError(f"{here}: {', '.join(columns)} names a column of the source twice")
        for entity in self.entities if self.aggregations else ():
            found = self.event_source.words.type_of(entity.column)
            if found is None:
                known = ", ".join(name for name, _ in self.event_source.words.fields)
                raise DefinitionError(
                    f"{here}: key {entity.column!r} is not a field of the source {self.event_source.name!r}: {known}"
                )
            if found is not entity.type:
                raise DefinitionError(
                    f"{here}: the source {self.event_source.name!r} has {entity.column!r} as {spelled(found)}, and the entity "
                    f"{entity.name!r} is of {spelled(entity.type)}; declare one as the other"
                )

    def _check_source(self) -> None:
        here = f"view {self.name!r}, field"
        if not self.aggregations:
            for name in self.given(("source", "where")):
                raise DefinitionError(f"{here} {name!r}: goes with 'aggregations'")
            return
        self.event_source.check()
        if self.where is not None:
            known = [name for name, _ in self.event_source.words.fields]
            check_condition(
                self.where,
                known=known,
                here=f"{here} 'where'",
                what=f"a field of the source {self.event_source.name!r}",
                why="so that an event counts the same in each refresh",
            )

    def _check_feature_names(self) -> None:
        seen = set(self.keys)
        for feature in self.features:
            here = f"view {self.name!r}, feature {feature.name!r}"
            if feature.type.info.packed is None:
                raise DefinitionError(f"{here}: {feature.type.info.instead}, not as {spelled(feature.type)}")
            if feature.name in self.public_names:
                check_name(feature.name, of=here)
            if feature.name in seen:
                raise DefinitionError(f"{here}: another feature or key of this view has that name")
            seen.add(feature.name)
