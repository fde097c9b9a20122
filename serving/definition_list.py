"""The definitions as `GET /features` and `tailrace features` list them."""

from typing import Any

from tailrace.definitions import Definitions, FeatureService, FeatureView, OnDemandFeature


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
            {"name": entity.name, "key": entity.key, "type": entity.type, "description": entity.description}
            for entity in view.entities
        ],
        "keys": view.keys,
        "features": [
            {"name": one.name, "type": one.type, "meaning": one.meaning}
            for one in view.features
            if one.name in view.public_names
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
