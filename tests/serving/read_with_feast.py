"""Run by Feast's own Python: read features from a reader in every way that its clients do, and print what came as JSON.

usage: read_with_feast.py REPOSITORY
"""

import json
import sys

from feast import FeatureService, FeatureStore
from feast.infra.online_stores.remote import RemoteOnlineStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

DOCUMENTS = [{"document_id": "d1"}, {"document_id": "d2"}]


def came(response):
    statuses = [[FieldStatus.Name(one) for one in result.statuses] for result in response.proto.results]
    names = list(response.proto.metadata.feature_names.val)
    return {"values": response.to_dict(), "statuses": dict(zip(names, statuses, strict=True))}


def of_statuses(*statuses):
    """What Feast makes of an answer with these statuses."""
    answer = {
        "metadata": {"feature_names": ["f"]},
        "results": [{"values": [None] * len(statuses), "statuses": statuses}],
    }
    return came(RemoteOnlineStore()._build_online_response_from_json(answer))


def ask(store, *features, rows=DOCUMENTS, **options):
    return store.get_online_features(features=list(features), entity_rows=rows, **options)


def refusal(store):
    try:
        return ask(store, "document_activity:views_24h", include_feature_view_version_metadata=True).to_dict()
    except RuntimeError as error:
        return str(error)


def main(repository):
    store = FeatureStore(repo_path=repository)
    two = ("document_activity:views_24h", "document_activity:events_24h")
    pairs = [{"document_id": "d1", "actor_id": "a1"}, {"document_id": "d1", "actor_id": "a2"}]
    service = FeatureService(name="ranker", features=[])
    frame = ask(store, *two).to_df()
    found = {
        "two features": came(ask(store, *two)),
        "full names": came(ask(store, *two, full_feature_names=True)),
        "text": came(ask(store, "document_profile:owner", "document_profile:size_bytes")),
        "two entities": came(ask(store, "actor_document_affinity:events_24h", rows=pairs)),
        "numbers": came(ask(store, "stock:left", rows=[{"product_id": one} for one in (42, -7, 1)])),
        "time": came(ask(store, "document_activity:last_edit_at")),
        "service": came(store.get_online_features(features=service, entity_rows=pairs)),
        "frame": {"columns": list(frame.columns), "views_24h": [str(one) for one in frame["views_24h"]]},
        "statuses": of_statuses("PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE", "TIMEOUT"),
        "refusal": refusal(store),
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
