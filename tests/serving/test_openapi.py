"""The description of the endpoints: complete, true of the answers, and a source of requests nobody thought of."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import jsonschema_rs
import pytest

from serving.auth.api_keys import add_key
from serving.auth.policy import RULES
from serving.common.interface import COMPACT, FEAST
from tailrace.shipped.document_activity import document_activity
from tests.serving.processes import served

NINE = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
# That a request is well-formed does not make it one that can be answered: which keys are needed, the features say.
UNFIT = "positive_data_acceptance"
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "60"))  # of each operation


def test_every_route_is_described_and_nothing_else(reader):
    status, description = reader.get("/openapi.json")

    assert (status, description["openapi"]) == (200, "3.1.0")
    described = {(method.upper(), path) for path, one in description["paths"].items() for method in one}
    assert described == set(RULES)
    request = body_schema(description)
    assert "ranker" in request["properties"]["feature_service"]["enum"]
    assert {"document_activity:views_24h", "document_activity", "edit_trend"} <= set(
        request["properties"]["features"]["items"]["enum"]
    )
    assert set(request["properties"]["entities"]["properties"]) == {"actor_id", "document_id"}


def body_schema(description):
    return description["paths"]["/get-online-features"]["post"]["requestBody"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize("form", [FEAST, COMPACT])
def test_answers_are_as_described(store, reader, form):
    _, description = reader.get("/openapi.json")
    answers = description["paths"]["/get-online-features"]["post"]["responses"]
    store.put(document_activity, {"document_id": "d1"}, {"events_24h": 24, "last_event_at": 5}, as_of=NINE)
    asked = {
        "feature_service": "ranker",
        "entities": {"document_id": ["d1", "unknown"], "actor_id": "a1"},
        "times": True,
    }
    jsonschema_rs.validate(body_schema(description), asked)

    status, answer = reader.send("POST", "/get-online-features", json=asked, headers={"Accept": form})

    assert status == 200
    jsonschema_rs.validate(answers["200"]["content"][form]["schema"], answer)
    status, refusal = reader.send("POST", "/get-online-features", json=asked | {"times": 1})
    jsonschema_rs.validate(answers[str(status)]["content"]["application/json"]["schema"], refusal)


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_requests_made_up_from_the_description_are_answered_as_it_says(settings, tmp_path):
    keys = tmp_path / "keys.json"
    key, _ = add_key(keys, "all", scopes=["read:*", "write:*", "metrics"], created=datetime.now(UTC), expires=None)
    with served(settings, tmp_path, workers=1, local=False, READER_KEYS=str(keys), READER_BUDGET_MS="10000") as reader:
        command = [
            str(SCHEMATHESIS),
            "run",
            reader.address + "/openapi.json",
            "--max-examples",
            str(EXAMPLES),
            "--no-color",
        ]
        command += ["--header", f"Authorization: Bearer {key}", "--continue-on-failure"]
        command += ["--exclude-path", "/ready", "--exclude-checks", UNFIT]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)

        assert done.returncode == 0, done.stdout[-8000:]
        generated = re.search(r"(\d+) generated", done.stdout)
        assert generated is not None
        assert int(generated[1]) > EXAMPLES
        assert reader.get("/health")[0] == 200
