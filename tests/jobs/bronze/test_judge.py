import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import functions as F

from jobs.bronze.lines import validate_lines
from tailrace.schemas import ids
from tests import feeds
from tests.jobs.bronze.events_to_judge import (
    AHEAD,
    EVENT_FACTS,
    NOT_A_TIME,
    NOT_AN_OBJECT,
    NOW,
    REFUSED_EVENTS,
    USABLE_EVENTS,
    without,
)

DOCUMENT = {"id": "d2", "title": "Plan B", "type": "pdf", "size": 1024, "folder": "/a/b", "owner": "u3"}
DOCUMENT |= {"updated_at": "2026-02-03T04:05:06Z"}
DOCUMENT_FACTS = {"document_id": "d2", "title": "Plan B", "type": "pdf", "size_bytes": 1024, "folder": "/a/b"}
DOCUMENT_FACTS |= {"owner": "u3", "updated_at": datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)}


def document(**changes):
    return json.dumps(DOCUMENT | changes, ensure_ascii=False).encode()


REFUSED_DOCUMENTS = {
    "no id": (without(DOCUMENT, "id"), "id is missing"),
    "null id": (document(id=None), "id is missing"),
    "empty id": (document(id=""), "id is empty"),
    "bool as id": (document(id=False), f"id {ids.NOT_TEXT}"),
    "1001 bytes of id": (document(id="x" * 1001), "id is longer than 1000 bytes of UTF-8"),
    "1001 bytes of owner": (document(owner="x" * 1001), "owner is longer than 1000 bytes of UTF-8"),
    "object as title": (document(title={}), "title is not text"),
    "bool as type": (document(type=True), "type is not text"),
    "list as folder": (document(folder=["a", "b"]), "folder is not text"),
    "fraction as owner": (document(owner=0.5), f"owner {ids.NOT_TEXT}"),
    "negative size": (document(size=-1), "size is negative"),
    "fractional size": (document(size=1.5), "size is not a whole number"),
    "size as text": (document(size="12"), "size is not a whole number"),
    "size above 64 bits": (document(size=2**63), "size is not a whole number"),
    "bool as size": (document(size=True), "size is not a whole number"),
    "date only": (document(updated_at="2026-02-03"), NOT_A_TIME.replace("occurred", "updated")),
    "too far ahead": (document(updated_at="2026-03-03T10:11:13Z"), AHEAD.replace("occurred", "updated")),
    "not JSON": (b"d2;Plan B", NOT_AN_OBJECT),
}

USABLE_DOCUMENTS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "all fields": (document(), {}),
    "id only": (b'{"id":"d2"}', {name: None for name in DOCUMENT_FACTS if name != "document_id"}),
    "nulls": (
        document(**{name: None for name in DOCUMENT if name != "id"}),
        {name: None for name in DOCUMENT_FACTS if name != "document_id"},
    ),
    "names of the bronze columns": (document(document_id="d9", size_bytes=9), {}),
    "whole number as id": (document(id=7), {"document_id": "7"}),
    "size 0": (document(size=0), {"size_bytes": 0}),
    "largest size": (document(size=2**63 - 1), {"size_bytes": 2**63 - 1}),
    "empty title": (document(title=""), {"title": ""}),
    "long title": (document(title="x" * 1001), {"title": "x" * 1001}),
    "1000 bytes of owner": (document(owner="é" * 500), {"owner": "é" * 500}),
}


def judge_all(spark, feed, *cases):
    """Every case judged in one go: facts and reason by the bytes of the line."""
    lines = [line for group in cases for line, _ in group.values()]
    frame = spark.createDataFrame(list(enumerate(lines)), "line bigint, bytes binary")
    frame = frame.select("line", F.col("bytes").cast("string").alias("value"))
    judged = validate_lines(frame, feed, now=NOW).drop("value")
    usable = {name: F.when(F.isnull("reason"), F.col(name)) for name in judged.columns[1:-1]}  # Python has no year 0
    rows = judged.withColumns(usable).collect()
    assert len(rows) == len(lines)
    return {
        lines[row.line]: {name: in_utc(value) for name, value in row.asDict().items() if name != "line"} for row in rows
    }


def in_utc(value):
    """PySpark hands times over without a zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


@pytest.fixture(scope="module")
def events(spark):
    return judge_all(spark, feeds.EVENTS, REFUSED_EVENTS, USABLE_EVENTS)


@pytest.fixture(scope="module")
def documents(spark):
    return judge_all(spark, feeds.DOCUMENTS, REFUSED_DOCUMENTS, USABLE_DOCUMENTS)


@pytest.mark.parametrize("case", REFUSED_EVENTS)
def test_an_event_that_cannot_be_used_is_refused_with_its_reason(events, case):
    line, reason = REFUSED_EVENTS[case]

    assert events[line]["reason"] == reason


@pytest.mark.parametrize("case", USABLE_EVENTS)
def test_a_usable_event_keeps_what_it_says(events, case):
    line, changes = USABLE_EVENTS[case]

    assert events[line] == EVENT_FACTS | changes | {"reason": None}


@pytest.mark.parametrize("case", REFUSED_DOCUMENTS)
def test_a_document_that_cannot_be_used_is_refused_with_its_reason(documents, case):
    line, reason = REFUSED_DOCUMENTS[case]

    assert documents[line]["reason"] == reason


@pytest.mark.parametrize("case", USABLE_DOCUMENTS)
def test_a_usable_document_keeps_what_it_says_under_the_names_of_bronze(documents, case):
    line, changes = USABLE_DOCUMENTS[case]

    assert documents[line] == DOCUMENT_FACTS | changes | {"reason": None}
