"""The official Feast client, in an environment of its own, reads features from this reader."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.peer_feast import Feast
from serving.auth.api_keys import add_key
from tailrace.definitions import load_definitions
from tailrace.settings import CHECKOUT
from tailrace.shipped.actor_document_affinity import actor_document_affinity
from tailrace.shipped.document_activity import document_activity
from tailrace.shipped.document_profile import document_profile
from tests.serving.processes import served

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)
SCRIPT = Path(__file__).with_name("read_with_feast.py")

# As docs/reader.md shows it.
REPOSITORY = """\
project: tailrace
provider: local
registry: registry.db
entity_key_serialization_version: 3
online_store:
  type: remote
  path: {address}
auth:
  type: oidc
  token: {key}
"""


# Of an entity whose ids are whole numbers.
STOCK = """
from datetime import timedelta
from tailrace import INT64, Entity, Feature, FeatureView

stock = FeatureView(
    name="stock", lane="direct", entities=(Entity("product", "product_id", type=INT64),), owner="ada",
    description="Tested.", freshness=timedelta(hours=1), written_features=(Feature("left", INT64, "how many"),),
)
"""


def put_rows(store, folder):
    (folder / "own").mkdir()
    (folder / "own" / "stock.py").write_text(STOCK)
    stock = load_definitions((str(folder / "own"),)).view("stock")
    store.put(stock, {"product_id": "42"}, {"left": 7}, as_of=NINE)
    store.put(stock, {"product_id": "-7"}, {"left": 0}, as_of=NINE)
    activity = {"views_24h": 11, "events_24h": 24, "last_edit_at": NINE.replace(tzinfo=None)}
    store.put(document_activity, {"document_id": "d1"}, activity, as_of=NINE)
    store.put(document_profile, {"document_id": "d1"}, {"owner": "ümlaut 🦊", "size_bytes": 2**53 + 1}, as_of=NINE)
    store.put(document_profile, {"document_id": "d2"}, {"owner": "u2"}, as_of=NINE)
    store.put(actor_document_affinity, {"actor_id": "a1", "document_id": "d1"}, {"events_24h": 3}, as_of=NINE)


@pytest.fixture
def read(store, settings, tmp_path):
    """What the client read, by the way in which it asked."""
    put_rows(store, tmp_path)
    feast = Feast(folder=CHECKOUT / ".tools" / "feast", region="us-east-1", documents=0)
    feast.install()
    keys = tmp_path / "keys.json"
    key, _ = add_key(keys, "feast", scopes=["read:*"], created=NINE, expires=None)
    features = f"shipped:{tmp_path / 'own'}"
    with served(settings, tmp_path, workers=1, local=False, READER_KEYS=str(keys), FEATURES=features) as reader:
        (tmp_path / "feature_store.yaml").write_text(REPOSITORY.format(address=reader.address, key=key))
        done = subprocess.run(
            [feast.python, SCRIPT, tmp_path],
            env=feast.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_feasts_own_client_reads_features_in_every_way_that_it_has(read):
    documents, found = {"document_id": ["d1", "d2"]}, ["PRESENT", "NOT_FOUND"]
    two = read["two features"]
    assert two["values"] == documents | {"views_24h": [11, None], "events_24h": [24, None]}
    assert two["statuses"] == {"document_id": ["PRESENT"] * 2, "views_24h": found, "events_24h": found}
    assert read["full names"]["values"] == documents | {
        "document_activity__views_24h": [11, None],
        "document_activity__events_24h": [24, None],
    }
    text = read["text"]
    assert text["values"] == documents | {"owner": ["ümlaut 🦊", "u2"], "size_bytes": [2**53 + 1, None]}
    assert text["statuses"]["size_bytes"] == ["PRESENT", "NULL_VALUE"]
    assert read["two entities"]["values"]["events_24h"] == [3, None]
    assert read["numbers"]["values"] == {"product_id": [42, -7, 1], "left": [7, 0, None]}
    assert read["time"]["values"] == documents | {"last_edit_at": ["2026-03-01T09:00:00Z", None]}
    service = read["service"]["values"]
    assert (service["views_24h"], service["owner"]) == ([11, 11], ["ümlaut 🦊"] * 2)
    assert set(read["frame"]["columns"]) == {"document_id", "views_24h", "events_24h"}
    assert [float(one) for one in read["frame"]["views_24h"][:1]] == [11]

    # Feast's enumeration has no word for a timeout.
    assert read["statuses"]["statuses"]["f"] == ["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE", "INVALID"]
    assert read["statuses"]["values"] == {"f": [None] * 5}
    assert "400" in read["refusal"]
    assert "include_feature_view_version_metadata" in read["refusal"]
