"""Views of the lane `batch`: refreshed from silver, by aggregations or a transform, and kept in one gold table each."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tailrace.definitions.aggregations.aggregation import Aggregation
from tailrace.definitions.aggregations.gold_column import Extreme, GoldColumn, added
from tailrace.definitions.aggregations.sql import GAINED
from tailrace.definitions.sql_condition import check_condition
from tailrace.definitions.view import BATCH, FeatureView
from tailrace.errors import DefinitionError
from tailrace.schemas import view_tables
from tailrace.schemas.expectations import holds
from tailrace.schemas.tables import Column, Table, Type

# How many interactions count in a row; a row goes when none does.
INTERACTIONS = Column("_interactions", Type.INT64, "events that count in this row")


@dataclass(frozen=True, kw_only=True)
class BatchView(FeatureView):
    """A view that a refresh computes into gold, and a push brings to the store."""

    has_gold: ClassVar[bool] = True

    lane: str = BATCH

    @cached_property
    def features(self) -> tuple[Column, ...]:
        lines = self.aggregations
        declared = tuple(feature for line in lines for feature in line.features_in(self.event_source.words))
        return declared or self.transform_features

    @cached_property
    def state(self) -> tuple[Column, ...]:
        """What gold keeps of aggregations with the features; the names begin with `_` and are never pushed."""
        if self.transform is not None:
            return ()
        return (INTERACTIONS, *(column for line in self.aggregations for column in line.state))

    @cached_property
    def gold_columns(self) -> tuple[GoldColumn, ...]:
        """How gold computes and maintains each column of aggregations but the keys."""
        interactions = added(INTERACTIONS.name, full="count(*)", difference=GAINED)
        return (interactions, *(column for line in self.aggregations for column in self.columns_of(line)))

    @cached_property
    def extremes(self) -> tuple[Extreme, ...]:
        """The extremes that gold has of windows."""
        return tuple(dict.fromkeys(column.extreme for column in self.gold_columns if column.extreme))

    def columns_of(self, line: Aggregation) -> tuple[GoldColumn, ...]:
        """How gold computes and maintains each column of an aggregation."""
        return line.columns_over(self.event_source.words)

    @cached_property
    def table(self) -> Table:
        """The contract of the view's gold table."""
        keys = (Column(entity.key, entity.type, entity.description, nullable=False) for entity in self.entities)
        expectations = (
            *(holds(condition) for line in self.aggregations for condition in line.promises(self.aggregations)),
            *(holds(one) if isinstance(one, str) else one for one in self.expectations),
        )
        return view_tables.gold_table(
            self.name, keys=keys, features=self.features, state=self.state, expectations=expectations
        )

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        if self.transform is None:
            return (self.event_source.silver_table.name,)
        return tuple(name for name in inspect.signature(self.transform).parameters if name != "as_of")

    @cached_property
    def wants_as_of(self) -> bool:
        return self.transform is None or "as_of" in inspect.signature(self.transform).parameters

    @property
    def why_no_past(self) -> str:
        return "" if self.wants_as_of else "its transform takes no as_of, so it returns silver as it is now"

    def unready(self, pushed: str | None) -> str:
        """A view that was never pushed cannot be served."""
        return "never pushed; publish it first" if pushed is None else self._unlike(pushed, again="publish it again")

    def check(self, views: Mapping[str, FeatureView]) -> None:
        """Raise `DefinitionError` for a field that cannot be used, naming view and field."""
        super().check(views)
        self._check_changed_keys()
        self._check_online_when()
        self._check_expectations()

    def check_fields(self) -> None:
        """A view of the lane batch says how it is computed."""
        self.refuse_written_features()
        is_transform = self.transform is not None
        if is_transform == bool(self.aggregations) or is_transform != bool(self.transform_features):
            raise DefinitionError(
                f"view {self.name!r}: give either 'aggregations', or 'transform' with 'transform_features'"
            )

    def check_base_view(self, base: FeatureView, *, of: str) -> None:
        """Gold counts rows of gold that aggregations made."""
        if not base.has_gold:
            raise DefinitionError(f"{of}: {base.name!r} is of the lane {base.lane}; it has no gold")
        if base.transform is not None:
            # A transform may give rows of keys that no interaction has, which this view then has no row to count them in.
            raise DefinitionError(
                f"{of}: {base.name!r} is a transform, and distinct counts of {self.name!r} come from a view that "
                "declares aggregations; count in a transform instead"
            )

    def _check_changed_keys(self) -> None:
        if self.changed_keys is None:
            return
        here = f"view {self.name!r}, field 'changed_keys'"
        if self.transform is None:
            raise DefinitionError(f"{here}: goes with a transform; aggregations find their changed keys themselves")
        if self.wants_as_of:
            raise DefinitionError(f"{here}: the transform takes as_of, so its rows change with time; leave it out")
        if set(inspect.signature(self.changed_keys).parameters) != set(self.inputs):
            raise DefinitionError(f"{here}: must take what the transform takes: {', '.join(self.inputs)}")

    def _check_online_when(self) -> None:
        if self.online_when is not None:
            here = f"view {self.name!r}, field 'online_when'"
            why = "so that a push knows what it wrote before"
            check_condition(self.online_when, known=self.feature_names, here=here, why=why)

    def _check_expectations(self) -> None:
        here = f"view {self.name!r}, field 'expectations'"
        known = (*self.keys, *self.feature_names)
        for expectation in self.expectations:
            if isinstance(expectation, str):
                why = "so that a run that is repeated comes to the same"
                check_condition(expectation, known=known, here=here, why=why)
                continue
            column = expectation.arguments.get("column")
            if column is not None and column not in known:
                raise DefinitionError(f"{here}: {column!r} is neither a key nor a feature of this view")
