"""The write endpoint as OpenAPI describes it."""

from typing import Any

from serving.common.interface import IDEMPOTENCY_HEADER
from serving.write.body import MAXIMUM_ENTITIES
from serving.write.idempotency import LONGEST
from tailrace.definitions import Definitions, FeatureView
from tailrace.schemas.ids import LARGEST, MAXIMUM_BYTES, SMALLEST
from tailrace.schemas.tables import Column, Type
from tailrace.store.direct.values import LONGEST_TEXT

Schema = dict[str, Any]

TIME: Schema = dict(Type.TIMESTAMP.packed.json)
ID: Schema = {
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": MAXIMUM_BYTES},
        {"type": "integer", "minimum": SMALLEST, "maximum": LARGEST},
    ]
}
STATUSES = ("WRITTEN", "STALE", "INVALID")
MEANINGS = {
    "200": "Every entity was written: it is in the store, and durably in the log.",
    "207": "Entities fared differently.",
    "400": "No entity is valid, or the body is not a write; `detail` names the field and what would be right.",
    "409": "The store has a later value of every entity, or the view is another lane's.",
    "422": "The idempotency key came with another body before.",
}


def request_of(definitions: Definitions) -> Schema:
    """The body of a write: one form for each view that takes writes."""
    views = definitions.direct_views.values()
    return {"oneOf": [of_view(view) for view in views]} if views else {"not": {}}


def of_view(view: FeatureView) -> Schema:
    keys = exactly(dict.fromkeys(view.keys, ID))
    values = exactly({feature.name: of_feature(feature) for feature in view.features})
    entity = {"keys": keys, "occurred_at": {"oneOf": [TIME, {"type": "null"}]}}
    written = {**entity, "values": values, "removed": {"const": False}}
    removed = {**entity, "removed": {"const": True}, "values": {"type": "null"}}
    return {
        "type": "object",
        "properties": {
            "view": {"const": view.name},
            "occurred_at": {"oneOf": [TIME, {"type": "null"}], "description": "For entities that name none."},
            "entities": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAXIMUM_ENTITIES,
                "items": {"oneOf": [some(written, "keys", "values"), some(removed, "keys", "removed")]},
            },
        },
        "required": ["view", "entities"],
        "additionalProperties": False,
    }


def exactly(properties: dict[str, Schema]) -> Schema:
    return some(properties, *properties)


def some(properties: dict[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def of_feature(feature: Column) -> Schema:
    schema = dict(feature.type.packed.json)
    if feature.type is Type.STRING:
        schema["maxLength"] = feature.longest or LONGEST_TEXT
    schema |= {} if feature.minimum is None else {"minimum": feature.minimum}
    schema |= {} if feature.maximum is None else {"maximum": feature.maximum}
    return {"oneOf": [schema, {"type": "null"}]} if feature.nullable else schema


ANSWER: Schema = {
    "type": "object",
    "properties": {
        "view": {"type": "string"},
        "results": {
            "type": "array",
            "description": "One for each entity, in their order.",
            "items": {
                "type": "object",
                "properties": {
                    "status": {"enum": STATUSES},
                    "occurred_at": TIME,
                    "overwritten": {"const": True, "description": "A later value of the key came with it."},
                    "stored_at": {"type": ["string", "null"], "format": "date-time"},
                    "detail": {"type": "string"},
                },
                "required": ["status"],
            },
        },
        "detail": {"type": "string"},
    },
}
KEY_HEADER: Schema = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[ -~]+$"},
    "description": "Sent again with the same body, a write is answered as before.",
}
