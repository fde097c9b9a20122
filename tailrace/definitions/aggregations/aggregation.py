"""What every aggregation has: a declarative view has one for each of its lines, over the interactions of an entity key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as option
from typing import TYPE_CHECKING, ClassVar

from tailrace.definitions.aggregations.gold_column import GoldColumn, Upkeep
from tailrace.definitions.aggregations.sql import WITHIN
from tailrace.definitions.aggregations.stream_part import StreamPart
from tailrace.definitions.fingerprints import plain
from tailrace.definitions.names import Window, check_name, check_tuple
from tailrace.definitions.sql_condition import check_condition
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    from tailrace.definitions.declared_source import EventColumns
    from tailrace.definitions.view import FeatureView


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """One declared line of a view; it yields one feature per window, or one.

    A subclass has `features` and `columns`, and whatever else is particular to it. `check_parts` finds what it lacks when
    definitions are loaded. `where` is a SQL condition over the source's fields that an event has to meet (null is not met);
    a subclass whose columns go by it says so with `takes_where`.
    """

    takes_where: ClassVar[bool] = False

    name: str
    over: tuple[str, ...] = ()
    where: str | None = option(default=None, repr=False)  # the fingerprints of 0.1 have the rest of the text

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows of `over`."""
        return tuple(Window.parse(text, of=f"feature {self.name!r}, field 'over'") for text in self.over)

    @property
    def features(self) -> tuple[Column, ...]:
        """The features that rankers may ask for."""
        raise self._lacks("features")

    def features_in(self, events: "EventColumns") -> tuple[Column, ...]:  # noqa: ARG002 -- for those that have its types
        """The same over a source whose columns have these meanings."""
        return self.features

    @property
    def state(self) -> tuple[Column, ...]:
        """Columns that gold keeps next to the features to maintain them; never pushed."""
        return ()

    @property
    def uncounted(self) -> Column | None:
        """The column of `state` that counts events whose value does not count, which a refresh reports; None without one."""
        return None

    @property
    def columns(self) -> tuple[GoldColumn, ...]:
        """How gold computes and maintains each column of `features` and `state`, whatever source it is over."""
        raise self._lacks("columns")

    def columns_over(self, events: "EventColumns") -> tuple[GoldColumn, ...]:  # noqa: ARG002 -- for those that need it
        """The same over a source whose columns have these meanings."""
        return self.columns

    @property
    def base_view(self) -> str | None:
        """The view whose rows are aggregated; None where it is the interactions themselves."""
        return None

    @property
    def stream(self) -> StreamPart | None:
        """How the stream keeps it; None where it cannot."""
        return None

    def promises(self, lines: Sequence["Aggregation"]) -> Iterator[str]:  # noqa: ARG002 -- a line may compare itself
        """SQL conditions that hold for every row, `lines` being all of the view: the quality gate looks at them."""
        return iter(())

    def check(self, view: "FeatureView", views: "Mapping[str, FeatureView]", *, here: str) -> None:
        """Raise `DefinitionError` for fields that cannot be used; the message begins with `here`."""

    @property
    def named_windows(self) -> Iterable[tuple[Column, Window]]:
        """Each feature with its window, where there is one feature per window."""
        return zip(self.features, self.windows, strict=True)

    def _lacks(self, part: str) -> DefinitionError:
        return DefinitionError(
            f"aggregation {type(self).__name__} lacks its part {part!r}; add it, docs/add-a-feature.md has an example"
        )


def features_over(name: str, over: Iterable[str], meaning: str, *, type: Type = Type.INT64) -> tuple[Column, ...]:
    """One feature per window."""
    return tuple(
        Column(f"{name}_{window}", type, f"{meaning}, " + ("ever" if window == "total" else f"in {window}"))
        for window in over
    )


def check_texts(line: Aggregation, *, here: str) -> None:
    """Raise `DefinitionError` for windows or types of events that are not a tuple; the message begins with `here`."""
    for name, example in (("over", "('24h', '7d')"), ("types", "('open',)")):
        check_tuple(getattr(line, name, ()), str, of=f"{here}, feature {line.name!r}, field {name!r}", example=example)


def check_aggregation(line: Aggregation, view: "FeatureView", views: "Mapping[str, FeatureView]") -> None:
    """Raise `DefinitionError` for a line of a view that cannot be used."""
    here = f"view {view.name!r}, feature {line.name!r}"
    check_name(line.name, of=f"{here}, field 'name'")
    try:
        windows = line.windows
    except DefinitionError as error:
        raise DefinitionError(f"view {view.name!r}, {error}") from error
    if len(set(windows)) < len(windows):
        raise DefinitionError(f"{here}, field 'over': names a window twice")
    check_parts(line, view.event_source.words, here=here)
    if not line.features_in(view.event_source.words):
        raise DefinitionError(f"{here}, field 'over': name at least one window, such as 24h")
    plain(line, of=here)
    _check_types(line, view, here=here)
    _check_where(line, view, here=here)
    line.check(view, views, here=here)


def _check_types(line: Aggregation, view: "FeatureView", *, here: str) -> None:
    if getattr(line, "types", ()) and view.event_source.type is None:
        raise DefinitionError(
            f"{here}, field 'types': the source {view.event_source.name!r} does not say which field is the type of an "
            "event; give it type='…'"
        )


def _check_where(line: Aggregation, view: "FeatureView", *, here: str) -> None:
    if line.where is None:
        return
    here = f"{here}, field 'where'"
    if line.base_view is not None:
        raise DefinitionError(
            f"{here}: {type(line).__name__} counts rows of {line.base_view!r}, of which there is one for many events; give "
            "'where' to what that view counts, and name that"
        )
    if not line.takes_where:
        raise DefinitionError(f"{here}: {type(line).__name__} takes no condition; give it to the view")
    if not isinstance(line.where, str):
        raise DefinitionError(f"{here}: give a SQL condition as a text, not {line.where!r}")
    source = view.event_source
    check_condition(
        line.where,
        known=[name for name, _ in source.words.fields],
        here=here,
        what=f"a field of the source {source.name!r}",
        why="as an event counts the same in each refresh",
    )


def check_parts(line: Aggregation, events: "EventColumns", *, here: str) -> None:
    """Raise `DefinitionError` for an aggregation that does not say how each of its columns is computed and maintained."""
    kind = f"{here}: aggregation {type(line).__name__}"
    try:
        declared, columns = (*line.features_in(events), *line.state), line.columns_over(events)
    except DefinitionError as error:
        raise DefinitionError(f"{here}: {error}") from error
    names = [column.name for column in columns]
    for field in declared:
        if field.name not in names:
            raise DefinitionError(f"{kind} lacks the column {field.name!r} in its part 'columns'")
    for name in names:
        if names.count(name) > 1 or name not in [field.name for field in declared]:
            raise DefinitionError(f"{kind} has {name!r} in its part 'columns', and not once as a feature or state")
    for column in columns:
        lacking = column.lacking(of_rows=line.base_view is not None)
        if lacking:
            raise DefinitionError(f"{kind} lacks the part {lacking[0]!r} of its column {column.name!r}")
        of_window = WITHIN in column.full and column.extreme is None
        if column.upkeep is Upkeep.SETTLED and (of_window or line.base_view):
            # An interaction that leaves a window is not lost: nothing would settle the column then.
            raise DefinitionError(f"{kind} cannot settle its column {column.name!r} over windows or a base view's rows")
