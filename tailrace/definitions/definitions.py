"""All definitions together: views, features that are computed on demand, services and sources, by name."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from tailrace.definitions.batch_view import BatchView
from tailrace.definitions.declared_source import DeclaredSource, EventSource, shipped_sources, sources_in
from tailrace.definitions.derived_source import DerivedSource, Source, with_origins
from tailrace.definitions.direct_view import DirectView
from tailrace.definitions.fingerprints import former_definition_fingerprint, with_base_views
from tailrace.definitions.names import Entity, spelled
from tailrace.definitions.services import FeatureService, OnDemandFeature
from tailrace.definitions.stream_view import FinestView, StreamView
from tailrace.definitions.view import FeatureView
from tailrace.errors import DefinitionError
from tailrace.schemas.landing import DIRECT_WRITES, Feeds, TableFeed
from tailrace.schemas.tables import Table

Kind = TypeVar("Kind", bound=FeatureView)


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """All definitions, by name; `views` has every view behind its base views, whose rows it counts.

    `finest` is the view by which the stream counts, declared or not; None where there are no views of the stream.
    `declared` are the sources that the files declare; `sources` has all that land, `derived` those that are made of them. `files` is a fingerprint of the files that they were loaded from, and of the modules of their folders that these import.
    """

    views: dict[str, FeatureView]
    on_demand: dict[str, OnDemandFeature]
    services: dict[str, FeatureService]
    declared: tuple[Source, ...] = ()
    finest: FinestView | None = None
    files: str = ""

    @cached_property
    def sources(self) -> dict[str, DeclaredSource]:
        """What a home reads, by name, sources of events first: those declared, or else the shipped ones, and those of views."""
        landing = [one for one in self.declared if isinstance(one, DeclaredSource)]
        return {one.name: one for one in sources_in([*(landing or shipped_sources()), *self._with_origins])}

    @cached_property
    def derived(self) -> dict[str, DerivedSource]:
        """The sources that are derived from others, by name, each behind its parent."""
        return {one.name: one for one in self._with_origins if isinstance(one, DerivedSource)}

    @property
    def sources_and_derived(self) -> tuple[Source, ...]:
        """Every source, whether it lands or is derived."""
        return (*self.sources.values(), *self.derived.values())

    @cached_property
    def _with_origins(self) -> list[Source]:
        of_views = (view.event_source for view in self.views.values() if view.aggregations)
        return list(with_origins((*of_views, *self.declared)))

    @cached_property
    def feeds(self) -> Feeds:
        """How lines of each source are read, those written directly at the end; keys of views are ids."""
        landing = (one for one in self.sources.values() if one.delta is None)
        return (*(one.feed(ids=self._ids_of(one)) for one in landing), DIRECT_WRITES)

    @cached_property
    def table_feeds(self) -> tuple[TableFeed, ...]:
        """How rows are read of each source that reads a table of others."""
        read = ((one, one.delta) for one in self.sources.values())
        return tuple(TableFeed(path=of.folder, feed=one.feed(ids=self._ids_of(one))) for one, of in read if of)

    def _ids_of(self, source: DeclaredSource) -> set[str]:
        views = (view for view in self.views.values() if view.aggregations)
        return {entity.column for view in views if view.event_source.name == source.name for entity in view.entities}

    @cached_property
    def silver_tables(self) -> dict[str, Table]:
        """The tables that views may be computed from, by name."""
        return {one.silver_table.name: one.silver_table for one in self.sources_and_derived}

    @cached_property
    def streamed_source(self) -> EventSource:
        """The source whose events the stream follows; raises `DefinitionError` where there is none."""
        of_views = (view.event_source for view in self.stream_views.values())
        landing = (one for one in self.sources.values() if isinstance(one, EventSource) and one.delta is None)
        found = next(iter((*of_views, *landing)), None)
        if found is None:
            raise DefinitionError("there is no source of events that a stream could follow; declare an EventSource")
        return found

    def inputs_of(self, view: FeatureView) -> list[Table]:
        """The silver tables that a view is computed from."""
        return [self.silver_tables[name] for name in view.inputs]

    @property
    def batch_views(self) -> dict[str, BatchView]:
        """The views that are refreshed."""
        return of_kind(BatchView, self.views)

    @property
    def direct_views(self) -> dict[str, DirectView]:
        """The views whose values are written by whoever has them."""
        return of_kind(DirectView, self.views)

    @property
    def stream_views(self) -> dict[str, StreamView]:
        """The declared views that the stream keeps."""
        return of_kind(StreamView, self.views)

    @property
    def streamed(self) -> tuple[StreamView, ...]:
        """All views that the stream keeps, the finest first, which may be one that nobody declared."""
        if self.finest is None:
            return ()
        return (self.finest, *(view for name, view in self.stream_views.items() if name != self.finest.name))

    @property
    def kept_views(self) -> dict[str, FeatureView]:
        """The views that a home has values of, also the one by which a stream counts if nobody declared it."""
        return dict(self.views) | {view.name: view for view in self.streamed if view.name not in self.views}

    @property
    def kept_names(self) -> set[str]:
        """The names of these."""
        return set(self.kept_views)

    def view(self, name: str) -> FeatureView:
        """The view of a name; raises `DefinitionError` if there is none."""
        if name not in self.views:
            raise DefinitionError(f"there is no view {name!r}; there are {', '.join(sorted(self.views))}")
        return self.views[name]

    def only(self, names: Iterable[str]) -> "Definitions":
        """These views with their base views; all views if none is named."""
        chosen = set()
        left = [self.view(name) for name in names]
        while left:
            view = left.pop()
            chosen.add(view.name)
            left += [self.views[name] for name in view.base_views]
        views = {name: view for name, view in self.views.items() if name in chosen or not chosen}
        return replace(self, views=views)

    @property
    def independent(self) -> tuple[tuple[str, ...], ...]:
        """The batch views in groups, of which none counts rows of another's."""
        groups: list[set[str]] = []
        for view in self.batch_views.values():
            needs = {view.name, *view.base_views}
            groups, joined = [one for one in groups if not one & needs], [one for one in groups if one & needs]
            groups.append(needs.union(*joined))
        return tuple(tuple(name for name in self.batch_views if name in group) for group in groups)

    def fingerprint(self, view: FeatureView) -> str:
        """Changes where gold would have other rows for the same silver: a view depends on the base views that it counts."""
        base = [self.fingerprint(self.views[name]) for name in view.base_views]
        return with_base_views(view.definition_fingerprint, base)

    def former_fingerprint(self, view: FeatureView) -> str:
        """The fingerprint that the version before gave this definition."""
        base = [self.former_fingerprint(self.views[name]) for name in view.base_views]
        return with_base_views(former_definition_fingerprint(view), base)

    def is_of(self, fingerprint: str | None, view: FeatureView) -> bool:
        """Whether a fingerprint in a home is that of a view's definition, made by this version or the one before."""
        return fingerprint == self.fingerprint(view) or fingerprint == self.former_fingerprint(view)


def of_kind(kind: type[Kind], views: Mapping[str, FeatureView]) -> dict[str, Kind]:
    """The views of one class, by name."""
    return {name: view for name, view in views.items() if isinstance(view, kind)}


def check_together(definitions: Definitions, files: Mapping[int, str | None]) -> None:
    """Raise `DefinitionError` for sources, entities and inputs of views that do not go together."""
    sources = {one.name: one for one in definitions.sources_and_derived}
    of_views = (view.event_source for view in definitions.views.values() if view.aggregations)
    for source in with_origins((*definitions.declared, *of_views)):
        if source != sources[source.name]:
            raise DefinitionError(f"there are two sources {source.name!r}, which differ; give one another name")
    streamed = {view.event_source.name: view.name for view in definitions.stream_views.values()}
    if len(streamed) > 1:
        raise DefinitionError(
            "views of the lane stream are over several sources ("
            + ", ".join(f"{view!r} over {source!r}" for source, view in streamed.items())
            + "); a stream follows one of them. Put the views of the others into the lane batch; where the shipped views are "
            "among them, leave 'shipped' out of TAILRACE_FEATURES"
        )
    tables = [one.silver_table.name for one in definitions.sources_and_derived]
    given = [one.given_table.name for one in definitions.derived.values() if one.given_table]
    for name in (everything := [*tables, *given]):
        if everything.count(name) > 1:
            raise DefinitionError(f"two sources have the silver table {name!r}; name one, or its silver='…', otherwise")
    entities: dict[str, Entity] = {}
    for view in definitions.views.values():
        with naming(files[id(view)], f"view {view.name!r}"):
            check_inputs(view, tables)
            check_entities(view, entities)


def check_entities(view: FeatureView, known: dict[str, Entity]) -> None:
    """Raise `DefinitionError` for an entity that is another in `known`, which has those of other views by name and by key."""
    for entity in view.entities:
        first = known.setdefault(entity.name, entity)
        if (first.key, first.type) != (entity.key, entity.type):
            raise DefinitionError(
                f"view {view.name!r}: entity {entity.name!r} is {entity.key} of {spelled(entity.type)}, and {first.key} of "
                f"{spelled(first.type)} in another view; declare it once"
            )
        others = [one for one in known.values() if one.key == entity.key and one.type != entity.type]
        if others:
            raise DefinitionError(
                f"view {view.name!r}: the key {entity.key!r} is of {spelled(entity.type)} in the entity {entity.name!r} and "
                f"of {spelled(others[0].type)} in {others[0].name!r}, and a request gives one for both; name them apart"
            )


def check_inputs(view: FeatureView, tables: Collection[str]) -> None:
    """Raise `DefinitionError` for a transform that takes what is not a silver table."""
    for name in view.inputs:
        if name not in tables:
            raise DefinitionError(
                f"view {view.name!r}, field 'transform': it takes {name!r}, which is not a silver table; "
                f"there are {', '.join(tables)}, and as_of"
            )


@contextmanager
def naming(file: str | None, of: str) -> Iterator[None]:
    """Put the file in front of what is wrong in it, and `of` in front of what Python finds wrong."""
    try:
        yield
    except DefinitionError as error:
        raise DefinitionError(f"{file}: {error}") from error
    except Exception as error:
        raise DefinitionError(
            f"{file}: {of}: {type(error).__name__}: {error}; a field may have a value of another kind"
        ) from error
