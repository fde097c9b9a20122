"""The body of a write: which view, and per entity its key, its time and its values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from serving.common.request import BadRequest, json_name
from tailrace.definitions import DIRECT, Definitions, FeatureView
from tailrace.schemas.ids import Duplicate, WrittenNumber, without_duplicates
from tailrace.schemas.slots import to_micros
from tailrace.store.direct.pending import Value
from tailrace.store.direct.values import ValueProblem, checked, checked_keys, checked_time, time_of
from tailrace.store.keys import ItemKeyError, item_keys

MAXIMUM_ENTITIES = 1_000
FIELDS = ("view", "occurred_at", "entities")
OF_ENTITY = ("keys", "occurred_at", "values", "removed")
EXAMPLE = '{"view": "…", "entities": [{"keys": {"document_id": "d1"}, "values": {"score": 0.5}}]}'


@dataclass(frozen=True, slots=True)
class Body:
    """A body whose form is right: the view's name, the time for entities that give none, and the entities."""

    view: str
    occurred_at: Any
    entities: list[Any]


def parse_body(body: bytes) -> Body:
    """Read the JSON of a write; raises `BadRequest`."""
    asked = fields_of(body)
    view, entities = asked.get("view"), asked.get("entities")
    if not isinstance(view, str):
        raise BadRequest(f"field 'view' is {json_name(view)}; it is the name of a view; send {EXAMPLE}")
    if not isinstance(entities, list) or not entities:
        what = "is empty" if entities == [] else f"is {json_name(entities)}"
        raise BadRequest(f"field 'entities' {what}; it is a list of what is written; send {EXAMPLE}")
    if len(entities) > MAXIMUM_ENTITIES:
        raise BadRequest(f"field 'entities' has {len(entities)} entries; send at most {MAXIMUM_ENTITIES} at once")
    return Body(view, asked.get("occurred_at"), entities)


def fields_of(body: bytes) -> dict[str, Any]:
    try:
        orjson.loads(
            body
        )  # stricter than Python's parser, which in turn sees fields given twice, and how ids are written
        asked = json.loads(body, object_pairs_hook=without_duplicates, parse_float=WrittenNumber)
    except Duplicate as error:
        raise BadRequest(f"field {str(error)!r} is given twice; give it once") from error
    except (orjson.JSONDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON, or is nested too deep: {error}; send {EXAMPLE}") from error
    if not isinstance(asked, dict):
        raise BadRequest(f"the body is {json_name(asked)}, not an object; send {EXAMPLE}")
    refuse_unknown(asked, FIELDS, here="")
    return asked


def refuse_unknown(given: Mapping[str, Any], known: tuple[str, ...], *, here: str) -> None:
    for field in given:
        if field not in known:
            raise BadRequest(f"{here}field {field!r} is not known; there are {', '.join(known)}")


def view_of(body: Body, definitions: Definitions) -> FeatureView:
    """The view that is written to; raises `BadRequest` unless it is of the lane direct."""
    view = definitions.views.get(body.view)
    if view is None:
        raise BadRequest(f"there is no view {body.view!r}")
    if not view.takes_writes:
        raise BadRequest(
            f"view {view.name} is of the lane {view.lane}, and no other lane writes it; "
            f"views that are written here say lane={DIRECT!r}"
        )
    return view


def values_of(body: Body, view: FeatureView, *, now: int) -> list[Value | BadRequest]:
    """The value to write of each entity, or why there is none; `now` is in microseconds and the time of those that give none."""
    default = now if body.occurred_at is None else micros_of(body.occurred_at, now=now, here="")
    return [value_of(entity, i, view, now=now, default=default) for i, entity in enumerate(body.entities)]


def value_of(entity: Any, i: int, view: FeatureView, *, now: int, default: int) -> Value | BadRequest:
    here = f"entity {i}: "
    try:
        if not isinstance(entity, dict):
            raise BadRequest(f"{here}is {json_name(entity)}; it is an object")  # noqa: TRY301 - reported per entity
        refuse_unknown(entity, OF_ENTITY, here=here)
        occurred_at = entity.get("occurred_at")
        return Value(
            view=view,
            keys=keys_of(entity.get("keys"), view, here=here),
            occurred_at=default if occurred_at is None else micros_of(occurred_at, now=now, here=here),
            values=features_of(entity, view, here=here),
        )
    except BadRequest as error:
        return error


def keys_of(keys: Any, view: FeatureView, *, here: str) -> dict[str, str]:
    if not isinstance(keys, dict) or set(keys) != set(view.keys):
        raise BadRequest(f"{here}field 'keys' names one id for each of {', '.join(view.keys)}, and nothing else")
    try:
        ids = checked_keys(view, keys)
        item_keys({entity.name: entity.key for entity in view.entities}, {name: [own] for name, own in ids.items()})
    except (ItemKeyError, ValueProblem) as error:
        raise BadRequest(f"{here}{error}") from error
    return ids


def features_of(entity: Mapping[str, Any], view: FeatureView, *, here: str) -> dict[str, Any] | None:
    removed, values = entity.get("removed", False), entity.get("values")
    if not isinstance(removed, bool):
        raise BadRequest(f"{here}field 'removed' is {json_name(removed)}; it is true or false")
    if removed == (values is not None):
        raise BadRequest(f"{here}give either 'values' or \"removed\": true")
    if removed:
        return None
    if not isinstance(values, dict):
        raise BadRequest(f"{here}field 'values' is {json_name(values)}; it is an object of features")
    try:
        return checked(values, view.features)
    except ValueProblem as error:
        raise BadRequest(f"{here}{error}") from error


def micros_of(text: Any, *, now: int, here: str) -> int:
    if not isinstance(text, str):
        raise BadRequest(f"{here}field 'occurred_at' is {json_name(text)}; it is a time such as 2026-03-02T10:15:00Z")
    try:
        return checked_time(to_micros(time_of(text, "the time")), now=now)
    except ValueProblem as error:
        raise BadRequest(f"{here}field 'occurred_at': {error}") from error
