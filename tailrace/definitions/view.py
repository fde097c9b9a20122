"""Feature views: one row of features per entity key, kept in one gold table and one attribute of the store."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.aggregations.gold_column import GoldColumn, added
from tailrace.definitions.aggregations.sql import GAINED
from tailrace.definitions.entity import Entity
from tailrace.definitions.fingerprints import definition_fingerprint, digest, schema_fingerprint
from tailrace.definitions.lane import BATCH, DIRECT, STREAM
from tailrace.definitions.recent import stored_columns
from tailrace.schemas import gold
from tailrace.schemas.expectations import Expectation, holds
from tailrace.schemas.tables import Column, Table, Type

# A transform takes silver tables by name (and `as_of`, if it wants) and returns keys and features.
Transform = Callable[..., Any]

# How many interactions count in a row; a row goes when none does.
INTERACTIONS = Column("_interactions", Type.INT64, "events that count in this row")


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """Features of one entity key, declared by `aggregations` over interactions (in the lane `stream` over short windows,
    which the stream keeps), computed by `transform`, or, in the lane `direct`, written to the online store by whoever has them, as `written_features`.

    A transform may come with `changed_keys`: given the change feed of each table that the transform takes, by the same
    names, it returns the keys whose rows may have changed, and only these are computed anew.
    `online_when` is a SQL condition over the features; rows that do not meet it stay in gold and are
    absent from the store. `freshness` is how old the view's watermark may be before it misses its purpose, and `max_age`
    how old before the reader withholds the values: rankers get `OUTSIDE_MAX_AGE` instead.
    `expectations` stop a refresh before rows that do not meet them are committed: SQL conditions over keys and features
    that every row meets, or `tailrace.schemas.expectations.expect(...)`, beside what follows from the aggregations.
    """

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
    online_when: str | None = None
    expectations: tuple[Expectation | str, ...] = ()
    lane: str = BATCH

    @cached_property
    def keys(self) -> tuple[str, ...]:
        return tuple(entity.key for entity in self.entities)

    @cached_property
    def features(self) -> tuple[Column, ...]:
        if self.lane == STREAM:
            return stored_columns(self.aggregations, finest=self.is_finest)
        declared = tuple(feature for line in self.aggregations for feature in line.features)
        return declared or self.transform_features or self.written_features

    @property
    def is_finest(self) -> bool:
        """Whether a view of the lane stream has a row for each pair of those whom an event is about."""
        return set(self.keys) == {"actor_id", "document_id"}

    @property
    def told_names(self) -> tuple[str, ...]:
        """The features that rankers may ask for."""
        return tuple(name for name in self.feature_names if not name.startswith("_"))

    @cached_property
    def state(self) -> tuple[Column, ...]:
        """What gold keeps of a declared view beside its features; the names begin with `_` and are never pushed."""
        if self.transform is not None or self.lane == STREAM:
            return ()
        return (INTERACTIONS, *(column for line in self.aggregations for column in line.state))

    @cached_property
    def gold_columns(self) -> tuple[GoldColumn, ...]:
        """How gold computes and maintains each column of a declared view but its keys."""
        interactions = added(INTERACTIONS.name, full="count(*)", difference=GAINED)
        return (interactions, *(column for line in self.aggregations for column in line.columns))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @cached_property
    def table(self) -> Table:
        """The contract of this view's gold table."""
        keys = (Column(entity.key, Type.STRING, entity.description, nullable=False) for entity in self.entities)
        expectations = (
            *(holds(condition) for line in self.aggregations for condition in line.promises(self.aggregations)),
            *(holds(one) if isinstance(one, str) else one for one in self.expectations),
        )
        return gold.table(self.name, keys=keys, features=self.features, state=self.state, expectations=expectations)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The silver tables that this view reads, by name."""
        if self.lane == DIRECT:
            return ()
        if self.transform is None:
            return ("interactions",)
        return tuple(name for name in inspect.signature(self.transform).parameters if name != "as_of")

    @cached_property
    def finer_views(self) -> tuple[str, ...]:
        """The views that must be refreshed before this one."""
        return tuple(dict.fromkeys(line.base_view for line in self.aggregations if line.base_view))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change when names, order or types of the features do."""
        return schema_fingerprint(self.features)

    @cached_property
    def definition_fingerprint(self) -> str:
        """Changes where gold would hold other rows for the same inputs.

        A transform counts with all of its file, and with the modules of the same folder that the file imports.
        """
        return definition_fingerprint(self)

    @cached_property
    def wants_as_of(self) -> bool:
        """Whether equal inputs may give other rows at another as-of."""
        return self.transform is None or "as_of" in inspect.signature(self.transform).parameters

    @cached_property
    def publication_fingerprint(self) -> str:
        """Changes where the store would hold other values or other rows for the same gold."""
        return digest(f"{self.fingerprint} {self.online_when}")
