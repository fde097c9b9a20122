from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sinks.net_changes import newest
from sinks.protocol import CHANGES, HISTORY_LOST, NOTHING_NEW, SNAPSHOT, CheckFeed, LookForRecord, ReadOpenKeys, planned
from sinks.push import Push
from tailrace.definitions import load_definitions
from tailrace.lake import commit
from tailrace.lake.delta_log import to_metadata
from tailrace.lake.session import java_class
from tailrace.lake.tables import Lake, LakeError
from tailrace.schemas.slots import parse_as_of, to_micros
from tailrace.store.address import Address
from tailrace.store.control import Control
from tests.tailrace.lake.copies import copied

actor_activity = load_definitions().batch_views["actor_activity"]
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


@pytest.fixture(scope="module")
def committed(spark, tmp_path_factory):
    """Gold after two commits, and the cursors before and after the second."""
    gold = Lake(spark, str(tmp_path_factory.mktemp("gold")))
    gold.create(actor_activity.table)
    table = actor_activity.table
    cursors = []
    for _ in range(2):
        commit.keep(gold, table, state=STATE | {"started_from": gold.version(table)})
        cursors.append(newest(gold, actor_activity)[0])
    return gold, *cursors


@pytest.fixture
def moved(committed, lake):
    original, *cursors = committed
    return copied(original, lake), *cursors


def plan_of(gold, found, target, *, open_keys=None):
    """The plan of a push whose control item was found so; the history is there, with these keys."""
    nowhere = Address(
        url="http://127.0.0.1:1", region="r", table="t", in_flight=1, writes="transactions", lease_seconds=1
    )
    push = Push(gold, nowhere, actor_activity)
    answers = {CheckFeed: push.check_feed, LookForRecord: lambda _: True, ReadOpenKeys: lambda _: open_keys}
    steps = planned(found, target)
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return end.value
        answer = answers[type(step)](step)


def test_gold_that_only_moved_is_gone_through_and_gold_that_stands_is_not(moved):
    gold, before, after = moved

    assert plan_of(gold, Control(cursor=after), after).how == NOTHING_NEW
    assert plan_of(gold, Control(cursor=before), after).how == CHANGES


def test_a_push_that_was_left_open_is_followed_by_one_that_suppresses_nothing(moved):
    gold, before, after = moved

    plan = plan_of(gold, Control(sequence=2, open=True, declared=1, cursor=before), after)

    assert (plan.how, plan.suppress) == (CHANGES, False)


def test_a_lease_behind_the_declared_one_leaves_unknown_what_was_written(moved):
    gold, before, after = moved

    plan = plan_of(gold, Control(sequence=3, open=True, declared=1, cursor=before), after)

    assert (plan.how, plan.suppress, plan.why) == (SNAPSHOT, False, HISTORY_LOST)


@pytest.mark.parametrize(
    ("cursor", "why"),
    [
        (lambda cursor: replace(cursor, fingerprint="other"), "the published features changed"),
        (lambda cursor: replace(cursor, table_id="other"), "was created anew"),
        (lambda cursor: replace(cursor, commit="other"), "is not the commit that it was"),
        (lambda cursor: replace(cursor, version=99), "before version 99"),
    ],
)
@pytest.mark.parametrize("is_open", [True, False])
def test_where_the_feed_does_not_lead_from_the_cursor_a_snapshot_is_planned_and_says_why(moved, cursor, why, is_open):
    gold, before, after = moved

    plan = plan_of(gold, Control(sequence=2, open=is_open, declared=1, cursor=cursor(before)), after)

    assert (plan.how, plan.suppress) == (SNAPSHOT, not is_open)
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

    plan = plan_of(gold, Control(cursor=before), after)

    assert plan.how == SNAPSHOT
    assert f"{entry} is gone" in (plan.why or "")


def test_a_mark_that_no_declaration_set_says_nothing_of_what_was_written(moved):
    gold, before, after = moved

    plan = plan_of(gold, Control(open=True, declared=3, closed=3, cursor=before), after)

    assert (plan.how, plan.suppress, plan.why) == (SNAPSHOT, False, HISTORY_LOST)
