import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.gold import refresh
from jobs.gold.verify import verify_view
from tailrace.definitions import Definitions, load_definitions
from tailrace.lake.session import java_class
from tailrace.lake.tables import Lake, LakeError
from tests import feeds
from tests.tailrace.lake.copies import copied

document_profile = load_definitions().batch_views["document_profile"]
T = datetime(2026, 3, 2, 10, 15, tzinfo=UTC)

VIEWS = Definitions(views={document_profile.name: document_profile}, on_demand={}, services={})
ROW = {"title": "Plan", "type": "pdf", "size_bytes": 7, "folder": "/a"}
GONE = r"document_profile was computed from version \d+ of silver\.documents, which is gone; run `tailrace refresh`"
STAMP = {"updated_at": T, "delivered_at": T, "file": "f", "line": 4, "batch": 5}


def hold_documents(lake, **owners):
    """Let silver hold just these documents; returns the files it had before."""
    lake.create(feeds.DOCUMENT_FACTS)
    before = lake.read(feeds.DOCUMENT_FACTS).inputFiles()
    rows = [({"document_id": name} | ROW | {"owner": owner} | STAMP) for name, owner in owners.items()]
    frame = lake.spark.createDataFrame([tuple(row.values()) for row in rows], feeds.DOCUMENT_FACTS.ddl)
    frame.write.format("delta").mode("overwrite").save(lake.path(feeds.DOCUMENT_FACTS))
    return [Path(file.removeprefix("file:")) for file in before]


@pytest.fixture(scope="module")
def refreshed(spark, tmp_path_factory):
    lake = Lake(spark, str(tmp_path_factory.mktemp("refreshed")))
    lake.create(feeds.INTERACTIONS)
    hold_documents(lake, d1="u1", d2="u2")
    refresh.run(lake, VIEWS, as_of=T)
    return lake


@pytest.fixture
def verified(refreshed, lake):
    return copied(refreshed, lake)


def test_gold_is_held_against_the_silver_it_was_computed_from_though_that_moved_on(verified):
    hold_documents(verified, d1="u1", d2="u3", d3="u4")

    done = verify_view(verified, VIEWS, document_profile)

    assert (done.as_of, done.rows, done.differing) == ("2026-03-02T10:15:00Z", 2, 0)


def test_a_row_that_something_else_changed_differs(verified):
    verified.spark.sql(
        f"UPDATE delta.`{verified.path(document_profile.table)}` SET owner = 'x' WHERE document_id = 'd1'"
    )

    assert verify_view(verified, VIEWS, document_profile).differing == 1


def test_a_version_of_silver_that_is_gone_is_named_with_what_to_do(verified):
    file, *_ = hold_documents(verified, d1="u3")
    file.unlink()

    with pytest.raises(LakeError, match=GONE):
        verify_view(verified, VIEWS, document_profile)


@pytest.mark.slow
def test_silver_that_was_put_back_from_a_copy_is_not_what_gold_was_computed_from(lake, tmp_path):
    lake.create(feeds.INTERACTIONS)
    hold_documents(lake, d1="u1")
    path, copy = Path(lake.path(feeds.DOCUMENT_FACTS)), tmp_path / "copy"
    shutil.copytree(path, copy)
    hold_documents(lake, d1="u2")
    refresh.run(lake, VIEWS, as_of=T)
    shutil.rmtree(path)
    shutil.copytree(copy, path)
    java_class(lake.spark, "org.apache.spark.sql.delta.DeltaLog").clearCache()
    hold_documents(lake, d1="u3")

    with pytest.raises(LakeError, match=GONE):
        verify_view(lake, VIEWS, document_profile)
