"""What has landed is in bronze in the end, though other loads take parts of it."""

import pytest

from jobs.bronze import load
from jobs.bronze.load import LOADS, catch_up
from tailrace.schemas.landing import LandingError
from tests import feeds
from tests.jobs.bronze.landed import NOW, claim_everything, event, land


def test_what_another_load_has_only_claimed_is_waited_for(lake, tmp_path):
    land(tmp_path / "events" / "a.jsonl", event("e1"))
    loads: list[int] = []

    def load_beside_another():
        """The first finds nothing: another has claimed the file at that moment."""
        loads.append(len(loads))
        if loads == [0]:
            claim_everything(lake, tmp_path, batch=1)
            return feeds.loaded()
        return load.run(lake, feeds.intake(tmp_path), now=NOW)

    loaded = catch_up(lake, feeds.intake(tmp_path), load_beside_another)

    assert (loads, loaded.rows["events"]) == ([0, 1], 1)
    assert lake.read(feeds.BRONZE_EVENTS).count() == 1


def test_loads_that_never_take_it_are_told(lake, tmp_path):
    land(tmp_path / "events" / "a.jsonl", event("e1"))
    loads: list[int] = []

    def load_nothing():
        loads.append(1)
        return feeds.loaded()

    with pytest.raises(LandingError, match="other loads are under way; try again"):
        catch_up(lake, feeds.intake(tmp_path), load_nothing)
    assert len(loads) == LOADS
