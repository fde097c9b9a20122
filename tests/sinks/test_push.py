from typing import Any

import pytest

from contracts.slots import parse_as_of, to_micros
from features.actor_activity import actor_activity
from lake import commit
from lake.state import to_metadata
from lake.tables import LakeError
from sinks.push import newest

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
