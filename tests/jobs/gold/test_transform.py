from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chispa import assert_df_equality

from jobs.gold.compute import TransformError, transform
from tailrace.definitions import BatchView, Feature, Type, load_definitions
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tests import feeds

SHIPPED = load_definitions().batch_views
document_activity, document_profile = SHIPPED["document_activity"], SHIPPED["document_profile"]
T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)
PLACES = (("/", 0), ("", 0), ("//", 0), ("/a", 1), ("/a/", 1), ("/a/b", 2), ("a/b", 1), ("a", 0), (None, None))
TITLES = (("", 0), ("Plan B", 6), ("日本語", 3), ("\U0001f600!", 2), (None, None))

DOCUMENT_ROW = {"document_id": "d1", "title": "Plan B", "type": "pdf", "size_bytes": 1024, "folder": "/a/b"}
DOCUMENT_ROW |= {"owner": "u3", "updated_at": T, "delivered_at": T + timedelta(hours=1), "file": "f", "line": 4}
DOCUMENT_ROW |= {"batch": 5}


def documents(spark, *changes):
    rows = [tuple((DOCUMENT_ROW | change).values()) for change in changes]
    return spark.createDataFrame(rows, feeds.DOCUMENT_FACTS.ddl)


def view(result, **changes: Any):
    """A view of documents whose transform returns `result`."""

    def give(documents):
        return result

    options: dict[str, Any] = {"name": "tested", "entities": (DOCUMENT,), "owner": "tests", "description": ""}
    options |= {"freshness": timedelta(hours=1), "transform": give}
    options["transform_features"] = (Feature("size", Type.INT64, "size"), Feature("at", Type.TIMESTAMP, "at"))
    return BatchView(**options | changes)


def test_a_profile_describes_each_document(spark):
    folders = [{"document_id": f"folder {n}", "folder": folder} for n, (folder, _) in enumerate(PLACES)]
    titles = [{"document_id": f"title {n}", "title": title} for n, (title, _) in enumerate(TITLES)]
    nulls = dict.fromkeys(("title", "type", "size_bytes", "folder", "owner", "updated_at"))

    rows = documents(spark, *folders, *titles, nulls)
    actual = transform(document_profile, {"documents": rows}, as_of=T)

    rows_expected: list[tuple[Any, ...]] = [
        (f"folder {n}", "pdf", 1024, depth, "u3", 6, T) for n, (_, depth) in enumerate(PLACES)
    ]
    rows_expected += [(f"title {n}", "pdf", 1024, 2, "u3", length, T) for n, (_, length) in enumerate(TITLES)]
    rows_expected += [("d1", None, None, None, None, None, None)]
    expected = spark.createDataFrame(rows_expected, document_profile.table.ddl)
    assert_df_equality(actual, expected, ignore_row_order=True, ignore_nullable=True)


def test_a_result_is_put_into_the_order_that_the_view_declares(spark):
    result = spark.createDataFrame([(T, "d1", 7, "x")], "at timestamp, document_id string, size bigint, more string")

    assert transform(view(result), {"documents": result}, as_of=T).columns == ["document_id", "size", "at"]


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("document_id string, size bigint", "returns no column 'at', only document_id, size"),
        ("size bigint, at timestamp", "returns no column 'document_id', only size, at"),
        ("document_id string, size int, at timestamp", "returns 'size' as int, declared is bigint; cast it"),
        ("document_id string, size bigint, at timestamp_ntz", "returns 'at' as timestamp_ntz, declared is timestamp"),
        ("document_id bigint, size bigint, at timestamp", "returns 'document_id' as bigint, declared is string"),
    ],
)
def test_a_result_with_other_columns_than_declared_is_refused(spark, columns, problem):
    result = spark.createDataFrame([], columns)

    with pytest.raises(TransformError, match=f"view 'tested': its transform {problem}"):
        transform(view(result), {"documents": result}, as_of=T)


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([("d1", "u1"), ("d1", "u2"), ("d1", "u1")], "2 rows for the key d1, u1 "),
        ([("d1", "u1"), (None, "u1")], "1 rows for the key None, u1 "),
        ([("d1", None)], "1 rows for the key d1, None "),
    ],
)
def test_a_result_with_null_or_repeated_keys_is_refused(spark, ids, problem):
    result = spark.createDataFrame([(*key, 1, T) for key in ids], "document_id string, actor_id string, size bigint, at timestamp")  # fmt: skip

    with pytest.raises(TransformError, match=rf"view 'tested': .* {problem}"):
        transform(view(result, entities=(DOCUMENT, ACTOR)), {"documents": result}, as_of=T)


def test_a_transform_that_asks_for_the_as_of_gets_it(spark):
    asked = []
    result = spark.createDataFrame([], "document_id string, size bigint, at timestamp")

    def record(documents, as_of):
        asked.append(as_of)
        return documents

    transform(view(result, transform=record), {"documents": result}, as_of=T)

    assert asked == [T]


def test_a_view_of_aggregations_has_no_transform():
    with pytest.raises(TransformError, match="'document_activity' declares aggregations"):
        transform(document_activity, {}, as_of=T)
