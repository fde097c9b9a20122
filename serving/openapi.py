"""The reader described: the catalogue of definitions, and an OpenAPI 3.1 description with the names that are defined."""

from collections.abc import Iterable
from typing import Any

from serving import openapi_writes as writes
from serving.common.interface import ARROW, BUDGET_HEADER, COMPACT, FEAST
from serving.common.request import MAXIMUM_KEYS
from serving.http.admission import LONGEST_MS
from serving.read.columns import STATUSES
from tailrace.definitions import Definitions, FeatureService, FeatureView, OnDemandFeature
from tailrace.schemas.ids import LARGEST, SMALLEST


def catalogue(definitions: Definitions) -> dict[str, Any]:
    """Views, on-demand features and services, each by name."""
    return {
        "views": {name: shown_view(view) for name, view in definitions.views.items()},
        "on_demand": {name: shown_on_demand(feature) for name, feature in definitions.on_demand.items()},
        "services": {name: shown_service(service) for name, service in definitions.services.items()},
    }


def shown_view(view: FeatureView) -> dict[str, Any]:
    return {
        "entities": [
            {"name": entity.name, "key": entity.key, "description": entity.description} for entity in view.entities
        ],
        "keys": view.keys,
        "features": [
            {"name": one.name, "type": one.type, "meaning": one.meaning}
            for one in view.features
            if one.name in view.told_names
        ],
        "lane": view.lane,
        "owner": view.owner,
        "description": view.description,
        "freshness_seconds": view.freshness.total_seconds(),
        "max_age_seconds": None if view.max_age is None else view.max_age.total_seconds(),
        "online_when": view.online_when,
    }


def shown_on_demand(feature: OnDemandFeature) -> dict[str, Any]:
    return {
        "type": feature.type,
        "inputs": feature.inputs,
        "owner": feature.owner,
        "description": feature.description,
    }


def shown_service(service: FeatureService) -> dict[str, Any]:
    return {"features": service.features, "owner": service.owner, "description": service.description}


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
        status: {"description": meaning, "content": {"application/json": {"schema": writes.ANSWER}}}
        for status, meaning in writes.MEANINGS.items()
    }
    return {
        "summary": "Write values of a view of the lane direct.",
        "operationId": "write",
        "parameters": [writes.KEY_HEADER],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": writes.request_of(definitions)}},
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
    features += [f"{view.name}:{name}" for view in definitions.views.values() for name in view.told_names]
    keys = sorted({key for view in definitions.views.values() for key in view.keys})
    ids = {"oneOf": [*ID["oneOf"], {"type": "array", "items": ID, "maxItems": MAXIMUM_KEYS}]}
    return {
        "type": "object",
        "properties": {
            "features": {"type": ["array", "null"], "minItems": 1, "items": {"type": "string", "enum": features}},
            "feature_service": {"enum": [*sorted(definitions.services), None]},
            "entities": {
                "type": "object",
                "description": "By key column one id per row, in lists of equal length, or one id for all rows.",
                "properties": dict.fromkeys(keys, ids),
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
