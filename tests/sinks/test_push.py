from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.slots import parse_as_of, to_micros
from features.actor_activity import actor_activity
from lake import commit
from lake.jvm import java_class
from lake.state import to_metadata
from lake.tables import LakeError
from online.control import Control
from sinks.push import SNAPSHOT, changes_after, newest, what_to_write
from sinks.rows import Address

STATE: dict[str, Any] = {"as_of": "2026-03-02T10:15:00Z"}


@pytest.fixture
def gold(lake):
    lake.create(actor_activity.table)
    return lake


def test_a_push_goes_to_the_newest_version_and_its_as_of(gold):
    commit.keep(gold, actor_activity.table, state=STATE | {"started_from": gold.version(actor_activity.table)})

    cursor, watermark = newest(gold, actor_activity)

    assert (cursor.version, cursor.table_id) == (
        gold.version(actor_activity.table),
        gold.table_id(actor_activity.table),
    )
    assert watermark == to_micros(parse_as_of(STATE["as_of"]))


def test_gold_without_state_is_not_pushed(gold):
    with pytest.raises(LakeError, match=r"gold\.actor_activity has no refresh state; run `tailrace refresh`"):
        newest(gold, actor_activity)


def test_gold_that_two_refreshes_wrote_at_once_is_not_pushed(gold):
    table = actor_activity.table
    late = to_metadata(STATE | {"started_from": 99})
    nothing = gold.read(table).limit(0)
    nothing.write.format("delta").mode("append").option("userMetadata", late).save(gold.path(table))

    with pytest.raises(LakeError, match=r"gold\.actor_activity was written by two refreshes at once"):
        newest(gold, actor_activity)


@pytest.fixture
def moved(gold):
    """Gold after two commits, and the cursors before and after the second."""
    table = actor_activity.table
    cursors = []
    for _ in range(2):
        commit.keep(gold, table, state=STATE | {"started_from": gold.version(table)})
        cursors.append(newest(gold, actor_activity)[0])
    return gold, *cursors


def test_gold_that_only_moved_has_no_changes_but_a_feed(moved):
    gold, before, after = moved

    assert changes_after(gold, actor_activity, after, after) is None
    feed = changes_after(gold, actor_activity, before, after)
    assert feed is not None
    assert feed.count() == 0


@pytest.mark.parametrize(
    ("cursor", "why"),
    [
        (lambda _: None, "the first load was left open"),
        (lambda cursor: replace(cursor, fingerprint="other"), "the published features changed"),
        (lambda cursor: replace(cursor, table_id="other"), "was created anew"),
        (lambda cursor: replace(cursor, commit="other"), "is not the commit that it was"),
        (lambda cursor: replace(cursor, version=99), "before version 99"),
    ],
)
def test_where_the_feed_does_not_lead_from_the_cursor_a_snapshot_is_planned_and_says_why(moved, cursor, why):
    gold, before, after = moved
    nowhere = Address(url="http://127.0.0.1:1", region="r", table="t", in_flight=1, writes="transactions")

    plan = what_to_write(gold, nowhere, actor_activity, Control(open=True, cursor=cursor(before)), after)

    assert (plan.how, plan.rows is not None) == (SNAPSHOT, True)
    assert why in (plan.why or "")


def test_a_feed_with_a_hole_is_answered_by_a_snapshot_too(moved):
    gold, before, gone = moved
    commit.keep(gold, actor_activity.table, state=STATE | {"started_from": gone.version})
    after, _ = newest(gold, actor_activity)
    delta_log = java_class(gold.spark, "org.apache.spark.sql.delta.DeltaLog")
    delta_log.forTable(gold.spark._jsparkSession, gold.path(actor_activity.table)).checkpoint()
    entry = Path(gold.path(actor_activity.table), "_delta_log", f"{gone.version:020}.json")
    entry.unlink()
    delta_log.clearCache()
    nowhere = Address(url="http://127.0.0.1:1", region="r", table="t", in_flight=1, writes="transactions")

    plan = what_to_write(gold, nowhere, actor_activity, Control(cursor=before), after)

    assert plan.how == SNAPSHOT
    assert f"{entry} is gone" in (plan.why or "")
