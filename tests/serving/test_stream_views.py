"""What rankers are told of the lane stream: windows as of now, and nothing of the state behind them."""

import numpy as np
import pytest

from serving.common.request import BadRequest, FeatureRequest, Planner
from tailrace.definitions import load_definitions


def plan(*features):
    asked = FeatureRequest(features=features, service=None, ids={"actor_id": ["u1"], "document_id": ["d1"]})
    return Planner(load_definitions()).plan(asked)


def test_a_view_stands_for_what_it_tells_and_for_its_windows():
    assert plan("actor_document_recent").names == ("last_opened_at", "opens_15m", "opens_1h")


def test_state_is_not_told():
    with pytest.raises(BadRequest, match="has no feature '_minute'; it has last_opened_at"):
        plan("actor_document_recent:_minute")


def test_a_window_runs_out_with_the_clock():
    feature = load_definitions().on_demand["recent_events_15m"]
    minute, buckets = np.array([1000]), [np.array([int(age == 0)]) for age in range(len(feature.inputs) - 1)]

    values = [
        feature.compute(minute, *buckets, now=np.datetime64(later, "m").astype("datetime64[us]"))[0]
        for later in (999, 1000, 1014, 1015)
    ]

    assert values == [0, 1, 1, 0]
