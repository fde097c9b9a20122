"""Which keys of a view change."""

import numpy as np

from jobs.streaming.fast_path import narrowed
from jobs.streaming.window_state import StateChanges


def test_changes_name_only_the_keys_that_they_are_of():
    changes = StateChanges(
        key=np.array([3, 1, 3]), line=np.array([0, 1, 2]), minute=np.array([10, 20, 30]), amount=np.array([7, 8, 9])
    )

    actual = narrowed(changes, ["d0", "d1", "d2", "d3"])

    assert actual.keys == ["d1", "d3"]
    assert [actual.keys[place] for place in actual.changes.key] == ["d3", "d1", "d3"]
    assert actual.changes.amount.tolist() == [7, 8, 9]
