"""Keys that the store refuses: which are left out, until when, and what is known of them."""

from pathlib import Path

import numpy as np
import pytest

from jobs.streaming.checkpoint import MOST, Parked, RefusedByStore
from tailrace.store.writer import Outcome

HORIZON = 80


def refused(*keys, more=0):
    return Outcome(refused=len(keys) + more, failed=[(key, "ValidationException: too large") for key in keys])


@pytest.fixture
def parked(tmp_path):
    """The parked keys as another process finds them, of which k1 of view a is one."""
    Parked(tmp_path / "checkpoint").park("a", refused("k1"), {"k1": 100})
    return Parked(tmp_path / "checkpoint")


def left_out(parked, view="a", **minutes):
    return parked.exclude(view, list(minutes), np.array(list(minutes.values())), horizon=HORIZON).tolist()


def test_a_parked_key_is_left_out_of_its_view_until_no_window_holds_what_was_left_out(parked):
    assert left_out(parked, k0=100, k1=100) == [False, True]
    assert left_out(parked, "b", k1=100) == [False]
    assert left_out(parked, k1=180) == [True]
    assert left_out(parked, k1=260) == [True]  # of the event at 180
    assert left_out(parked, k1=341) == [False]


def test_keys_of_views_that_the_stream_no_longer_has_are_forgotten(parked, tmp_path):
    parked.park("b", refused("k2"), {"k2": 100})
    parked.keep_only(["b", "c"])

    assert [(one.view, one.key) for one in Parked(tmp_path / "checkpoint").keys] == [("b", "k2")]


def test_a_late_event_shortens_no_time(parked):
    assert left_out(parked, k1=20) == [True]
    assert left_out(parked, k1=180) == [True]


def test_a_key_whose_value_is_taken_is_parked_no_longer(parked, tmp_path, caplog):
    parked.release("a", ["k0", "k1"])

    assert "'k1' is parked no longer" in caplog.text
    assert Parked(tmp_path / "checkpoint").keys == []


def test_one_that_is_refused_again_is_parked_since_the_first_time_and_said_once(parked, tmp_path, caplog):
    since = parked.keys[0].since
    parked.park("a", refused("k1"), {"k1": 300})

    (one,) = Parked(tmp_path / "checkpoint").keys
    assert (one.view, one.key, one.since, one.minute) == ("a", "k1", since, 300)
    assert "too large" in one.reason
    assert not caplog.messages


@pytest.mark.parametrize(
    "outcome", [refused(*map(str, range(MOST))), refused("k2", more=1)], ids=["too many", "unnamed"]
)
def test_a_store_that_refuses_nearly_everything_stops_the_stream(parked, tmp_path, outcome):
    with pytest.raises(RefusedByStore, match=r"view a: the store refuses .*too large"):
        parked.park("a", outcome, dict.fromkeys((key for key, _ in outcome.failed), 1))
    assert len(Parked(tmp_path / "checkpoint").keys) == 1


def test_a_stream_without_parked_keys_writes_nothing_of_them(tmp_path):
    parked = Parked(tmp_path / "checkpoint")
    parked.park("a", Outcome(written=1), {"k1": 1})
    parked.release("a", ["k1"])
    parked.forget()

    assert left_out(parked, k1=1) == [False]
    assert list(Path(tmp_path).iterdir()) == []
