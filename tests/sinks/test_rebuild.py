"""A view goes from one lane to another and back."""

from dataclasses import replace

import pytest

from sinks import rebuild
from tailrace.definitions import BATCH
from tailrace.store.control import OtherLane
from tailrace.store.dynamodb.calls import control_key
from tailrace.store.lease import take
from tests.sinks.direct_lane import RELEVANCE


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(rebuild, "LAST_WORDS_SECONDS", 0.0)


@pytest.fixture
def quick_lane(lane):
    lane.address = replace(lane.address, lease_seconds=0.1)
    return lane


def test_one_lane_does_not_write_what_is_anothers(quick_lane):
    quick_lane.write(("d1", 10, 0.1))

    with pytest.raises(OtherLane, match="are those of the lane direct, and this would write them as the lane batch"):
        take(quick_lane.address, "relevance", 0.1)


def test_what_the_old_owner_left_is_removed_and_what_it_still_sends_is_refused(quick_lane):
    quick_lane.write(("d1", 10, 0.1), ("d2", 10, 0.2))
    handed = rebuild.hand_over(quick_lane.address, replace(RELEVANCE, lane=BATCH))
    left = quick_lane.scores()
    taken = take(quick_lane.address, "relevance", 0.1)

    assert (handed.before, handed.removed, left) == ("direct", 2, {})
    assert taken.cursor is None
    with pytest.raises(OtherLane, match="are those of the lane batch"):
        quick_lane.write(("d1", 20, 0.3))
    assert quick_lane.scores() == {}


def test_a_view_that_comes_back_starts_anew(quick_lane):
    quick_lane.write(("d1", 10, 0.1))
    rebuild.hand_over(quick_lane.address, replace(RELEVANCE, lane=BATCH))
    back = rebuild.hand_over(quick_lane.address, RELEVANCE)
    [told] = quick_lane.write(("d1", 5, 0.5))

    assert (back.before, back.removed) == ("batch", 0)
    assert (told.result, quick_lane.scores()) == (None, {"d1": 0.5})


def test_cut_off_before_all_was_removed_it_goes_on(quick_lane, monkeypatch):
    quick_lane.write(("d1", 10, 0.1))

    async def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(rebuild, "clear", die)
        with pytest.raises(KeyboardInterrupt):
            rebuild.hand_over(quick_lane.address, replace(RELEVANCE, lane=BATCH))
    again = rebuild.hand_over(quick_lane.address, replace(RELEVANCE, lane=BATCH))

    assert (again.before, again.removed, quick_lane.scores()) == (None, 1, {})


def test_a_view_that_nobody_had_needs_no_handing_over(quick_lane):
    assert rebuild.hand_over(quick_lane.address, RELEVANCE) == rebuild.HandedOver(before=None, removed=0)
    assert control_key("relevance") not in quick_lane.items()
