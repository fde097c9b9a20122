"""A request for features: its body and headers, checked, and the plan by which it is answered."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import orjson
from multidict import CIMultiDictProxy

from tailrace.definitions import Definitions, Entity, Feature, FeatureView, OnDemandFeature, Type
from tailrace.errors import UsageError
from tailrace.schemas.ids import Duplicate, Key, NotAnIdError, WrittenNumber, key_of_text, text_of, without_duplicates

BACKSLASH = 92  # as a byte

MAXIMUM_KEYS = 5_000
MAXIMUM_FEATURES = 500
FIELDS = ("features", "feature_service", "entities", "full_feature_names", "times")
EXAMPLE = '{"features": ["view:feature"], "entities": {"document_id": ["d1", "d2"]}}'
JSON_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}

PLANS_KEPT = 256  # a ranker asks for the same features with every query


def check_duplicates(body: bytes, *, fields: int, texts: Iterable[Iterable[str]]) -> None:
    """Raises `Duplicate` if an object in `body` gives a field twice; the body is JSON that was parsed already.

    `fields` is how many there are in what was parsed, `texts` all strings in it, names among them. A colon in the body
    is that of a field or stands in a string, so a body with more colons than these has fields that were dropped.
    A colon written as an escape is the one that this cannot count: such a body is parsed again, slowly.
    """
    beyond = body.count(b":") - fields
    escaped = BACKSLASH in body and b"\\u" in body
    if escaped or (beyond and beyond != "".join(chain.from_iterable(texts)).count(":")):
        json.loads(body.decode(), object_pairs_hook=without_duplicates)


class BadRequest(UsageError):
    """A request that cannot be answered; the message says what is wrong with it and what would be right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureRequest:
    """Features by name, or those of a service, asked for rows of entity keys.

    `ids` maps key column to one id per row, also for the `shared` ones, which have the same id in every row.
    """

    features: tuple[str, ...]
    service: str | None
    ids: dict[str, list[str]]
    shared: frozenset[str] = frozenset()
    full_feature_names: bool = False
    times: bool = False

    @property
    def rows(self) -> int:
        return len(next(iter(self.ids.values())))


def parse_request(body: bytes) -> FeatureRequest:
    """Read the JSON of a request; raises `BadRequest`."""
    asked = fields_of(body)
    features, service = asked.get("features"), asked.get("feature_service")
    if (features is None) == (service is None):
        raise BadRequest(
            "give either 'features' or 'feature_service', " + ("one is needed" if features is None else "not both")
        )
    if service is not None and not isinstance(service, str):
        raise BadRequest(f"field 'feature_service' is {json_name(service)}; it is the name of a service")
    names = () if features is None else names_of(features)
    ids, shared = ids_of(entities_of(body, asked))
    refuse_duplicates(body, asked, ids, shared)
    return FeatureRequest(
        features=names,
        service=service,
        ids=ids,
        shared=shared,
        full_feature_names=flag_of(asked, "full_feature_names"),
        times=flag_of(asked, "times"),
    )


def fields_of(body: bytes) -> dict[str, Any]:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("depth"):
            raise BadRequest(f"the body is nested too deep; send {EXAMPLE}") from error
        raise BadRequest(f"the body is not JSON: {error}; send {EXAMPLE}") from error
    if not isinstance(asked, dict):
        raise BadRequest(f"the body is {json_name(asked)}, not an object; send {EXAMPLE}")
    for field, value in asked.items():
        # Feast defines the protocol, and its clients send switches that are off, of versions to come as well.
        if field not in FIELDS and value is not None and value is not False:
            raise BadRequest(f"field {field!r} is not known; there are {', '.join(FIELDS)}")
    return asked


def entities_of(body: bytes, asked: dict[str, Any]) -> Any:
    """The entities, read again where an id is a number that was rounded: whether it is whole its digits say."""
    entities = asked.get("entities", {})
    if not isinstance(entities, dict) or not any(map(has_rounded, entities.values())):
        return entities
    try:
        return json.loads(body, parse_float=WrittenNumber)["entities"]
    except RecursionError as error:
        raise BadRequest(f"field 'entities' is nested too deep; send {EXAMPLE}") from error


def has_rounded(ids: Any) -> bool:
    return type(ids) is float or (isinstance(ids, list) and float in set(map(type, ids)))


def refuse_duplicates(body: bytes, asked: dict[str, Any], ids: dict[str, list[str]], shared: frozenset[str]) -> None:
    """Of a field that is given twice nobody knows which one was meant; `ids` and `shared` are what was read of it."""
    texts = [asked.get("features") or (), [asked.get("feature_service") or ""], ids]
    texts += ([str(own)] if key in shared else ids[key] for key, own in asked["entities"].items())
    try:
        check_duplicates(body, fields=len(asked) + len(ids), texts=texts)
    except Duplicate as error:
        raise BadRequest(f"field {str(error)!r} is given twice; give it once") from error
    except RecursionError as error:
        raise BadRequest(f"a field is given twice, once nested too deep; send {EXAMPLE}") from error


def flag_of(asked: dict[str, Any], field: str) -> bool:
    value = asked.get(field, False)
    if not isinstance(value, bool):
        raise BadRequest(f"field {field!r} is {json_name(value)}; it is true or false")
    return value


def names_of(features: Any) -> tuple[str, ...]:
    if not isinstance(features, list):
        raise BadRequest(f"field 'features' is {json_name(features)}; it is a list such as [\"view:feature\"]")
    if not features:
        raise BadRequest("field 'features' is empty; name at least one as view:feature")
    if len(features) > MAXIMUM_FEATURES:
        raise BadRequest(f"field 'features' names {len(features)}; name at most {MAXIMUM_FEATURES} at once")
    for name in features:
        if not isinstance(name, str):
            raise BadRequest(f"field 'features' holds {json_name(name)}; it is a list such as [\"view:feature\"]")
    return tuple(dict.fromkeys(features))


def ids_of(entities: Any) -> tuple[dict[str, list[str]], frozenset[str]]:
    """One id per row of each key column, and the columns that were given as one id for all rows."""
    if not isinstance(entities, dict) or not entities:
        what = "is empty" if entities == {} else f"is {json_name(entities)}"
        raise BadRequest(f'field \'entities\' {what}; it maps key columns to ids, such as {{"document_id": ["d1"]}}')
    shared = frozenset(key for key, ids in entities.items() if is_one_id(ids))
    ids = {key: texts(key, [own] if key in shared else own) for key, own in entities.items()}
    counts = {key: len(own) for key, own in ids.items() if key not in shared}
    if len(set(counts.values())) > 1:
        lengths = ", ".join(f"{count} of {key}" for key, count in counts.items())
        raise BadRequest(f"field 'entities' has lists of unequal length, {lengths}; row i takes id i of every list")
    rows = max(counts.values(), default=1)
    if rows > MAXIMUM_KEYS:
        raise BadRequest(f"field 'entities' has {rows} rows; ask for at most {MAXIMUM_KEYS} at once")
    return {key: own * rows if key in shared else own for key, own in ids.items()}, shared


def is_one_id(ids: Any) -> bool:
    return isinstance(ids, str | int | float) and not isinstance(ids, bool)


def texts(key: str, ids: Any) -> list[str]:
    """The ids of one key column by the rule of `tailrace.schemas.ids`, texts as they are."""
    if not isinstance(ids, list):
        raise BadRequest(
            f"field 'entities', key {key!r} is {json_name(ids)}; it is a list of ids, or one id for all rows"
        )
    if set(map(type, ids)) <= {str}:
        return ids
    found: list[str] = []
    try:
        found.extend(map(text_of, ids))
    except NotAnIdError as error:
        at = len(found)
        raise BadRequest(f"field 'entities', key {key!r}, id {at} is {json_name(ids[at])}, which {error}") from error
    return found


def json_name(value: Any) -> str:
    return JSON_NAMES.get(type(value), "a number")


def only_value(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """The value of a header, None if it is not there; raises `BadRequest` if it is there several times."""
    values = headers.getall(name, ())
    if len(values) > 1:
        raise BadRequest(f"there are {len(values)} headers {name}; send one")
    return values[0] if values else None


def list_value(headers: CIMultiDictProxy[str], name: str) -> str:
    """A header that is a list, which may come in several lines (RFC 9110, section 5.3); empty if it is not there."""
    return ",".join(headers.getall(name, ()))


@dataclass(frozen=True, kw_only=True)
class ItemGroup:
    """Views of the same entities, which share one item per key; `entities` maps entity name to key column."""

    entities: dict[str, str]
    views: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RequestPlan:
    """How one combination of features and key columns is answered.

    `references` are the features asked for, `view:feature` or the bare name of an on-demand one, and `names`
    what each is called in the answer. `stored` has the features to read of each view, as inputs or for themselves.
    `typed` are the entities given whose keys are numbers or dates.
    """

    references: tuple[str, ...]
    names: tuple[str, ...]
    stored: dict[str, tuple[Feature, ...]]
    on_demand: tuple[OnDemandFeature, ...]
    groups: tuple[ItemGroup, ...]
    typed: tuple[Entity, ...] = ()

    @property
    def width(self) -> int:
        """How many features are read or computed for each row."""
        return sum(map(len, self.stored.values())) + len(self.on_demand)


class Planner:
    """Makes plans from the definitions and keeps those made last."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._known_keys = {entity.key: entity for view in definitions.views.values() for entity in view.entities}
        self._plan = lru_cache(maxsize=PLANS_KEPT)(self._make)

    def plan(self, request: FeatureRequest) -> RequestPlan:
        """Raises `BadRequest` for names that are not defined, and for keys that are missing, unknown or of another type."""
        plan = self._plan(request.features, request.service, tuple(request.ids), full=request.full_feature_names)
        for entity in plan.typed:
            typed_keys(entity, request)
        return plan

    def _make(
        self, features: tuple[str, ...], service: str | None, keys: tuple[str, ...], *, full: bool
    ) -> RequestPlan:
        definitions = self._definitions
        asked = features if service is None else self._features_of(service)
        references = tuple(dict.fromkeys(one for name in asked for one in self._expand(name)))
        on_demand = tuple(definitions.on_demand[one] for one in references if one in definitions.on_demand)
        needed = {one for one in references if one not in definitions.on_demand}
        needed |= {one for feature in on_demand for one in feature.inputs}
        stored = {}
        for view in definitions.views.values():
            if features_of_view := tuple(one for one in view.features if f"{view.name}:{one.name}" in needed):
                stored[view.name] = features_of_view
        self._check_keys(keys, [definitions.views[view] for view in stored])
        return RequestPlan(
            references=references,
            names=names_in_answer(references, keys, full=full),
            stored=stored,
            on_demand=on_demand,
            groups=grouped(definitions.views[view] for view in stored),
            typed=tuple(self._known_keys[key] for key in keys if self._known_keys[key].type is not Type.STRING),
        )

    def _features_of(self, service: str) -> tuple[str, ...]:
        services = self._definitions.services
        if service not in services:
            raise BadRequest(f"there is no feature service {service!r}; there are {listed(services)}")
        return services[service].features

    def _expand(self, name: str) -> tuple[str, ...]:
        """A view stands for all its features, and for the windows that it brings along."""
        definitions = self._definitions
        if name in definitions.on_demand:
            return (name,)
        view, colon, feature = name.partition(":")
        if view not in definitions.views:
            here = f"{name!r} names no view" if colon else f"{name!r} is neither a view nor an on-demand feature"
            others = "" if colon else f", and on demand {listed(definitions.on_demand)}"
            raise BadRequest(f"field 'features': {here}; there are the views {listed(definitions.views)}{others}")
        known = definitions.views[view].public_names
        if not colon:
            return (*(f"{view}:{one}" for one in known), *definitions.views[view].windows)
        if feature not in known:
            raise BadRequest(f"field 'features': view {view!r} has no feature {feature!r}; it has {', '.join(known)}")
        return (name,)

    def _check_keys(self, keys: tuple[str, ...], views: Iterable[FeatureView]) -> None:
        for key in keys:
            if key not in self._known_keys:
                names = {entity.name: known for known, entity in self._known_keys.items()}
                hint = f"; write {names[key]!r}" if key in names else f"; there are {listed(self._known_keys)}"
                raise BadRequest(f"field 'entities': {key!r} is not the key of any entity{hint}")
        for view in views:
            missing = [key for key in view.keys if key not in keys]
            if missing:
                raise BadRequest(f"field 'entities': view {view.name!r} needs {', '.join(missing)} as well")


def typed_keys(entity: Entity, request: FeatureRequest) -> list[Key]:
    """The ids of an entity as its type has them; raises `BadRequest` for one that is not written so."""
    is_shared = entity.key in request.shared
    ids = request.ids[entity.key][: 1 if is_shared else None]
    found: list[Key] = []
    try:
        found.extend(key_of_text(one, entity.type) for one in ids)
    except NotAnIdError as error:
        raise BadRequest(
            f"field 'entities', key {entity.key!r} of {entity.name}, id {len(found)} is {ids[len(found)]!r:.80}, which {error}"
        ) from error
    return found * request.rows if is_shared else found


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
