"""Distinct: how many different partners, counted as rows of a base view."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailrace.definitions.aggregations.aggregation import Aggregation, features_over
from tailrace.definitions.aggregations.gold_column import GoldColumn, added
from tailrace.definitions.aggregations.sql import SIGN
from tailrace.definitions.aggregations.stream_part import Additions, Arrivals, StreamPart
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column

if TYPE_CHECKING:
    from tailrace.definitions.view import FeatureView


@dataclass(frozen=True, kw_only=True)
class Distinct(Aggregation):
    """How many different partners: rows of a base view with this key and `active` above 0 in the window."""

    rows_of: str
    active: str

    @property
    def features(self) -> tuple[Column, ...]:
        return features_over(self.name, self.over, f"rows of {self.rows_of} with {self.active}")

    @property
    def base_view(self) -> str:
        return self.rows_of

    @property
    def columns(self) -> tuple[GoldColumn, ...]:
        return tuple(self._columns())

    def _columns(self) -> Iterator[GoldColumn]:
        for feature, window in self.named_windows:
            is_active = f"{self.active}_{window.name} > 0"
            yield added(
                feature.name,
                full=f"count_if({is_active})",
                change=f"CASE WHEN {is_active} THEN {SIGN} ELSE 0 END",
                difference=feature.name,
            )

    @property
    def stream(self) -> StreamPart:
        return StreamPart(windows=self.windows, additions=self._additions)

    def _additions(self, arrivals: Arrivals) -> Iterator[Additions]:
        """A pair counts where its newest event is, and no longer where that was before."""
        import numpy as np

        moved = arrivals.last > arrivals.before
        again = moved & (arrivals.before > 0)
        for of, at, amount in ((moved, arrivals.last, 1), (again, arrivals.before, -1)):
            yield Additions(arrivals.pair[of], at[of], np.full(of.sum(), amount))

    def promises(self, lines: Sequence[Aggregation]) -> Iterator[str]:  # noqa: ARG002
        """Counts are not below 0; in a longer window they may be, as the rows' number may be a sum."""
        yield " AND ".join(f"{feature.name} >= 0" for feature in self.features)

    def check(self, view: "FeatureView", views: "Mapping[str, FeatureView]", *, here: str) -> None:
        """The base view has more keys, is kept in the same lane, and has the windows."""
        here = f"{here}, field"
        base = views.get(self.rows_of)
        if base is None:
            raise DefinitionError(f"{here} 'rows_of': there is no view {self.rows_of!r}")
        self._check_entities(view, base, here=here)
        if not set(view.entities) < set(base.entities):
            raise DefinitionError(
                f"{here} 'rows_of': {base.name!r} does not have the keys of {view.name!r} and more, by the same columns"
            )
        if base.aggregations and (base.event_source != view.event_source or view.where not in {None, base.where}):
            # A row of the base view may then have a key that this view has no row for.
            raise DefinitionError(
                f"{here} 'rows_of': {base.name!r} counts events that {view.name!r} does not count; "
                "give both the same source, and 'where' to both or to the base view alone"
            )
        view.check_base_view(base, of=f"{here} 'rows_of'")
        if view.has_gold:  # which counts by a column of the base view, where the stream counts by the newest event
            self._check_windows(base, here=here)

    def _check_entities(self, view: "FeatureView", base: "FeatureView", *, here: str) -> None:
        """The views share entities, not only what these call their ids."""
        of_base = {(one.key, one.column): one for one in base.entities}
        for one in view.entities:
            other = of_base.get((one.key, one.column), one)
            if other != one:
                raise DefinitionError(
                    f"{here} 'rows_of': {base.name!r} has the key {one.key!r} of the entity {other.name!r} "
                    f"({other.description}), and {view.name!r} of {one.name!r} ({one.description}); declare the entity once "
                    "and name it in both"
                )

    def _check_windows(self, base: "FeatureView", *, here: str) -> None:
        for window in self.over:
            if f"{self.active}_{window}" not in base.feature_names:
                raise DefinitionError(
                    f"{here} 'over': needs {self.active}_{window} of view {base.name!r}, which {base.name!r} "
                    f"does not have; add the window {window} to {self.active!r} there"
                )
