"""A reader that takes writes to a view of the lane direct."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from tailrace.definitions import DIRECT, Definitions, Feature, FeatureView, Type
from tailrace.settings import Settings
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tests.serving.conftest import Http, Store, direct_log

RELEVANCE = FeatureView(
    name="relevance",
    entities=(DOCUMENT,),
    owner="tests",
    description="What a model thinks of a document.",
    freshness=timedelta(days=1),
    lane=DIRECT,
    written_features=(
        Feature("score", Type.FLOAT64, "from 0 to 1", minimum=0, maximum=1),
        Feature("model", Type.STRING, "which model", nullable=False, longest=8),
        Feature("votes", Type.INT64, "how many"),
        Feature("is_safe", Type.BOOL, "whether"),
        Feature("judged_at", Type.TIMESTAMP, "when"),
    ),
)
AFFINITY = replace(
    RELEVANCE, name="taste", entities=(ACTOR, DOCUMENT), written_features=(Feature("score", Type.FLOAT64, "s"),)
)
VALUES = {"score": 0.5, "model": "m1", "votes": 7, "is_safe": True, "judged_at": "2026-03-01T08:00:00Z"}
NINE = "2026-03-01T09:00:00Z"


@dataclass(frozen=True)
class Writes:
    """Writes to a reader over HTTP, and reads from it."""

    http: Http
    settings: Settings

    def send(self, *entities: Any, view: str = "relevance", headers: Any = None, **fields: Any) -> tuple[int, Any]:
        body = {"view": view, "entities": list(entities)} | fields
        return self.http.send("POST", "/v1/write", json=body, headers=headers or {})

    def results(self, *entities: Any, **fields: Any) -> list[str]:
        """What is told of each entity."""
        return [one["status"] for one in self.send(*entities, **fields)[1]["results"]]

    def read(self, *ids: str, feature: str = "relevance:score") -> list[Any]:
        return [value for value, _ in self.http.values(feature, entities={"document_id": list(ids)})]

    @property
    def log(self) -> list[Any]:
        """The lines of all segments that were not landed."""
        files = sorted(direct_log(self.settings).folder.glob("*.log"))
        return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]

    @property
    def landed(self) -> list[Any]:
        files = sorted(Path(direct_log(self.settings).landing, "direct_writes").glob("*.jsonl"))
        return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]


def of(document: str, occurred_at: Any = NINE, **values: Any) -> dict[str, Any]:
    """An entity with the usual values, some of them others."""
    told = {"keys": {"document_id": document}, "values": VALUES | values}
    return told | ({} if occurred_at is None else {"occurred_at": occurred_at})


def removal(document: str, occurred_at: str = NINE) -> dict[str, Any]:
    return {"keys": {"document_id": document}, "removed": True, "occurred_at": occurred_at}


@pytest.fixture
def defined(definitions: Definitions) -> Definitions:
    return replace(definitions, views=definitions.views | {one.name: one for one in (RELEVANCE, AFFINITY)})


@pytest.fixture
def writes(store: Store, start_reader: Callable[..., Http], defined: Definitions) -> Writes:
    return Writes(start_reader(defined), store.settings)
