"""The reader's description in OpenAPI 3.1, with the names that are defined."""

from collections.abc import Iterable
from typing import Any

from serving.common.interface import ARROW, BUDGET_HEADER, COMPACT, FEAST, IDEMPOTENCY_HEADER
from serving.common.request import MAXIMUM_KEYS
from serving.http.admission import LONGEST_MS
from serving.read.columns import STATUSES
from serving.write.body import MAXIMUM_ENTITIES
from serving.write.idempotency import LONGEST
from tailrace.definitions import Definitions, FeatureView
from tailrace.schemas.ids import LARGEST, MAXIMUM_BYTES, PLAIN_NUMBER, SMALLEST
from tailrace.schemas.tables import Column, Type
from tailrace.store.direct.values import LONGEST_TEXT

Schema = dict[str, Any]

REFUSALS = {
    "400": "The request cannot be answered; `detail` names the field and what would be right.",
    "401": "The caller is not known.",
    "403": "The caller may not read these features, or not write this view.",
    "406": "None of the forms that the request accepts is there.",
    "408": "The body did not arrive in time.",
    "413": "The body is too long.",
    "503": "The store or the log cannot be used, or the process has too much to do; `Retry-After` says when to come again.",
}
STATUS: Schema = {"type": "string", "enum": STATUSES.tolist()}
TIME: Schema = {"type": "string", "format": "date-time"}
VALUE: Schema = {"type": ["null", "boolean", "number", "string"]}
ID: Schema = {"oneOf": [{"type": "string"}, {"type": "integer", "minimum": SMALLEST, "maximum": LARGEST}]}
VIEWS: Schema = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            "lane": {"type": "string"},
            "watermark": {"type": ["null", "string"], "format": "date-time"},
            "age_seconds": {"type": ["null", "number"]},
        },
        "required": ["lane", "watermark", "age_seconds"],
    },
}

WRITE_ID: Schema = {
    "oneOf": [
        {"type": "string", "minLength": 1, "maxLength": MAXIMUM_BYTES},
        {"type": "integer", "minimum": SMALLEST, "maximum": LARGEST},
    ]
}
WHOLE: Schema = {"type": "string", "pattern": f"^({PLAIN_NUMBER.pattern})$"}
INT64_KEY: Schema = {"oneOf": [dict(Type.INT64.packed.json), WHOLE]}
DATE_KEY: Schema = {"type": "string", "format": "date"}
TYPED_KEYS: dict[Type, Schema] = {Type.INT64: INT64_KEY, Type.DATE: DATE_KEY}  # of entities whose ids are no texts
WRITE_STATUSES = ("WRITTEN", "STALE", "INVALID")
WRITE_MEANINGS = {
    "200": "Every entity was written: it is in the store, and durably in the log.",
    "207": "Entities fared differently.",
    "400": "No entity is valid, or the body is not a write; `detail` names the field and what would be right.",
    "409": "The store has a later value of every entity, or the view is another lane's.",
    "422": "The idempotency key came with another body before.",
}

DETAIL: Schema = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
IN_FEASTS_JSON: Schema = {
    "type": "object",
    "properties": {
        "metadata": {
            "type": "object",
            "properties": {"feature_names": {"type": "array", "items": {"type": "string"}}, "views": VIEWS},
            "required": ["feature_names", "views"],
        },
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "values": {"type": "array", "items": VALUE},
                    "statuses": {"type": "array", "items": STATUS},
                    "event_timestamps": {"type": "array", "items": TIME},
                },
                "required": ["values", "statuses", "event_timestamps"],
            },
        },
    },
    "required": ["metadata", "results"],
}
IN_COMPACT_JSON: Schema = {
    "type": "object",
    "properties": {
        "rows": {"type": "integer"},
        "views": VIEWS,
        "features": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "values": {"type": "array", "items": VALUE},
                    "statuses": {
                        "type": "object",
                        "propertyNames": STATUS,
                        "additionalProperties": {"type": "array", "items": {"type": "integer"}},
                    },
                    "times": {"type": "array", "items": {"type": ["null", "string"], "format": "date-time"}},
                },
                "required": ["values"],
            },
        },
    },
    "required": ["rows", "views", "features"],
}

WRITE_ANSWER: Schema = {
    "type": "object",
    "properties": {
        "view": {"type": "string"},
        "results": {
            "type": "array",
            "description": "One for each entity, in their order.",
            "items": {
                "type": "object",
                "properties": {
                    "status": {"enum": WRITE_STATUSES},
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


def described(definitions: Definitions) -> Schema:
    """The description of a reader that serves these definitions."""
    paths = {
        "/get-online-features": {"post": of_features(definitions)},
        "/v1/write": {"post": of_write(definitions)},
        "/features": {"get": of_get("What can be asked for.", ["401"])},
        "/health": {"get": of_get("Whether the process lives.", [], is_open=True)},
        "/ready": {
            "get": of_get("Whether the store can be read and holds every view as it is defined.", ["503"], is_open=True)
        },
        "/metrics": {"get": of_get("Counters and histograms for Prometheus.", ["401", "403"], form="text/plain")},
        "/openapi.json": {"get": of_get("This description.", ["401"])},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tailrace reader",
            "version": "1",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "security": [{"bearer": []}],
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def of_write(definitions: Definitions) -> Schema:
    answers = {
        status: {"description": meaning, "content": {"application/json": {"schema": WRITE_ANSWER}}}
        for status, meaning in WRITE_MEANINGS.items()
    }
    return {
        "summary": "Write values of a view of the lane direct.",
        "operationId": "write",
        "parameters": [KEY_HEADER],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body_of_write(definitions)}},
        },
        "responses": answers | refusals(["401", "403", "408", "413", "503"]),
    }


def of_features(definitions: Definitions) -> Schema:
    budget = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_MS}
    return {
        "summary": "Features of many entity keys.",
        "operationId": "getOnlineFeatures",
        "parameters": [
            {"name": BUDGET_HEADER, "in": "header", "schema": budget, "description": "Milliseconds to wait."}
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request_of(definitions)}}},
        "responses": {
            "200": {
                "description": "The features, in the form that `Accept` asks for.",
                "content": {
                    FEAST: {"schema": IN_FEASTS_JSON},
                    COMPACT: {"schema": IN_COMPACT_JSON},
                    ARROW: {"schema": {"type": "string", "format": "binary"}},
                },
            },
            **refusals(REFUSALS),
        },
    }


def request_of(definitions: Definitions) -> Schema:
    features = [*definitions.on_demand, *definitions.views]
    features += [f"{view.name}:{name}" for view in definitions.views.values() for name in view.public_names]
    keys = {entity.key: entity.type for view in definitions.views.values() for entity in view.entities}
    return {
        "type": "object",
        "properties": {
            "features": {"type": ["array", "null"], "minItems": 1, "items": {"type": "string", "enum": features}},
            "feature_service": {"enum": [*sorted(definitions.services), None]},
            "entities": {
                "type": "object",
                "description": "By key column one id per row, in lists of equal length, or one id for all rows.",
                "properties": {key: ids_of(TYPED_KEYS.get(keys[key], ID)) for key in sorted(keys)},
                "additionalProperties": False,
                "minProperties": 1,
            },
            "full_feature_names": {"type": "boolean"},
            "times": {
                "type": "boolean",
                "description": "Tell when each value last changed, also where that is optional.",
            },
        },
        "required": ["entities"],
        "oneOf": [
            {
                "required": ["features"],
                "properties": {"features": {"type": "array"}, "feature_service": {"type": "null"}},
            },
            {
                "required": ["feature_service"],
                "properties": {"features": {"type": "null"}, "feature_service": {"type": "string"}},
            },
        ],
        "additionalProperties": {"enum": [False, None]},
    }


def ids_of(one: Schema) -> Schema:
    """One id for all rows, or one per row."""
    return {"oneOf": [*one.get("oneOf", [one]), {"type": "array", "items": one, "maxItems": MAXIMUM_KEYS}]}


def of_get(summary: str, refused: Iterable[str], *, form: str = "application/json", is_open: bool = False) -> Schema:
    schema = {"type": "object"} if form == "application/json" else {"type": "string"}
    operation = {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {form: {"schema": schema}}},
            **refusals(refused),
        },
    }
    return operation | ({"security": []} if is_open else {})


def refusals(statuses: Iterable[str]) -> Schema:
    return {
        status: {"description": REFUSALS[status], "content": {"application/json": {"schema": DETAIL}}}
        for status in statuses
    }


def body_of_write(definitions: Definitions) -> Schema:
    """The body of a write: one form for each view that takes writes."""
    views = definitions.direct_views.values()
    return {"oneOf": [write_to(view) for view in views]} if views else {"not": {}}


def write_to(view: FeatureView) -> Schema:
    keys = exactly({entity.key: TYPED_KEYS.get(entity.type, WRITE_ID) for entity in view.entities})
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
    longest = {"maxLength": feature.longest or LONGEST_TEXT}
    if feature.type is Type.STRING:
        schema |= longest
    if feature.type.info.element is Type.STRING:
        schema["items"] = schema["items"] | longest
    schema |= {} if feature.type.at_most is None else {"maxItems": feature.type.at_most}
    schema |= {} if feature.minimum is None else {"minimum": feature.minimum}
    schema |= {} if feature.maximum is None else {"maximum": feature.maximum}
    return {"oneOf": [schema, {"type": "null"}]} if feature.nullable else schema
