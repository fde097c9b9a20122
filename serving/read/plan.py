"""What a request needs: which views of which items, which of their features, and the names these are answered under."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from serving.common.request import BadRequest, FeatureRequest
from tailrace.definitions import STREAM, Definitions, Feature, FeatureView, OnDemandFeature, windows_of

PLANS_KEPT = 256  # a ranker asks for the same features with every query


@dataclass(frozen=True, kw_only=True)
class ItemGroup:
    """Views of the same entities, which share one item per key; `entities` maps entity name to key column."""

    entities: dict[str, str]
    views: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one combination of features and key columns is answered.

    `references` are the features asked for, `view:feature` or the bare name of an on-demand one, and `names`
    what each is called in the answer. `wanted` tells which features of a view are read, as inputs or for themselves.
    """

    references: tuple[str, ...]
    names: tuple[str, ...]
    wanted: dict[str, tuple[Feature, ...]]
    on_demand: tuple[OnDemandFeature, ...]
    groups: tuple[ItemGroup, ...]

    @property
    def width(self) -> int:
        """How many features are read or computed for each row."""
        return sum(map(len, self.wanted.values())) + len(self.on_demand)


class Planner:
    """Makes plans from the definitions and keeps those made last."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._known_keys = {entity.key: entity.name for view in definitions.views.values() for entity in view.entities}
        self._plan = lru_cache(maxsize=PLANS_KEPT)(self._make)

    def plan(self, request: FeatureRequest) -> Plan:
        """Raises `BadRequest` for names that are not defined, and for keys that are missing or unknown."""
        return self._plan(request.features, request.service, tuple(request.ids), full=request.full_feature_names)

    def _make(self, features: tuple[str, ...], service: str | None, keys: tuple[str, ...], *, full: bool) -> Plan:
        definitions = self._definitions
        asked = features if service is None else self._features_of(service)
        references = tuple(dict.fromkeys(one for name in asked for one in self._expand(name)))
        on_demand = tuple(definitions.on_demand[one] for one in references if one in definitions.on_demand)
        stored = {one for one in references if one not in definitions.on_demand}
        stored |= {one for feature in on_demand for one in feature.inputs}
        wanted = {}
        for view in definitions.views.values():
            if features_of_view := tuple(one for one in view.features if f"{view.name}:{one.name}" in stored):
                wanted[view.name] = features_of_view
        self._check_keys(keys, [definitions.views[view] for view in wanted])
        return Plan(
            references=references,
            names=names_in_answer(references, keys, full=full),
            wanted=wanted,
            on_demand=on_demand,
            groups=grouped(definitions.views[view] for view in wanted),
        )

    def _features_of(self, service: str) -> tuple[str, ...]:
        services = self._definitions.services
        if service not in services:
            raise BadRequest(f"there is no feature service {service!r}; there are {listed(services)}")
        return services[service].features

    def _expand(self, name: str) -> tuple[str, ...]:
        """A view stands for all its features; one of the lane stream, for its windows too."""
        definitions = self._definitions
        if name in definitions.on_demand:
            return (name,)
        view, colon, feature = name.partition(":")
        if view not in definitions.views:
            here = f"{name!r} names no view" if colon else f"{name!r} is neither a view nor an on-demand feature"
            others = "" if colon else f", and on demand {listed(definitions.on_demand)}"
            raise BadRequest(f"field 'features': {here}; there are the views {listed(definitions.views)}{others}")
        known = definitions.views[view].told_names
        if not colon:
            windows = windows_of(definitions.views[view]) if definitions.views[view].lane == STREAM else ()
            return (*(f"{view}:{one}" for one in known), *windows)
        if feature not in known:
            raise BadRequest(f"field 'features': view {view!r} has no feature {feature!r}; it has {', '.join(known)}")
        return (name,)

    def _check_keys(self, keys: tuple[str, ...], views: Iterable[FeatureView]) -> None:
        for key in keys:
            if key not in self._known_keys:
                names = {name: known for known, name in self._known_keys.items()}
                hint = f"; write {names[key]!r}" if key in names else f"; there are {listed(self._known_keys)}"
                raise BadRequest(f"field 'entities': {key!r} is not the key of any entity{hint}")
        for view in views:
            missing = [key for key in view.keys if key not in keys]
            if missing:
                raise BadRequest(f"field 'entities': view {view.name!r} needs {', '.join(missing)} as well")


def names_in_answer(references: Iterable[str], keys: Iterable[str], *, full: bool) -> tuple[str, ...]:
    """Bare names, `view__feature` where asked for or where a bare name would stand for two columns.

    On-demand features belong to no view and keep their bare names.
    """
    parts = [reference.rpartition(":") for reference in references]
    uses = Counter([*keys, *(name for _, _, name in parts)])
    return tuple(f"{view}__{name}" if view and (full or uses[name] > 1) else name for view, _, name in parts)


def grouped(views: Iterable[FeatureView]) -> tuple[ItemGroup, ...]:
    groups: dict[frozenset[tuple[str, str]], list[str]] = {}
    for view in views:
        groups.setdefault(frozenset((entity.name, entity.key) for entity in view.entities), []).append(view.name)
    return tuple(ItemGroup(entities=dict(entities), views=tuple(names)) for entities, names in groups.items())


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
