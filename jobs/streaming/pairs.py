"""One micro-batch for the finest view: which of its events are new, its own state, and what coarser views gain."""

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.streaming.state import Array, Changes, Events, State, changes_of, fold, new_events, remember
from tailrace.definitions import FeatureView
from tailrace.definitions.recent import rings_of

SPARE_MINUTES = 10


def horizon_of(view: FeatureView, coarser: Sequence[FeatureView]) -> int:
    """How many minutes back an event can still count in a bucket that is kept."""
    rings = [ring for one in (view, *coarser) for ring in rings_of(one.aggregations)]
    return SPARE_MINUTES + max((ring.width * (ring.slots + 1) for ring in rings), default=0)


def take_pairs(
    view: FeatureView,
    coarser: Sequence[FeatureView],
    state: State,
    events: Events,
    *,
    places: Mapping[str, Array],
    run: int,
    batch: int,
) -> tuple[State, dict[str, Changes]]:
    """The state of pairs after a micro-batch, and the changes of coarser views, `places` being their keys by event.

    A pair that has taken this micro-batch before keeps its state and finds the same changes again; one that has taken a
    later one has none left, because a micro-batch is complete before the next begins.
    """
    mine = state["_run"] == run
    repeated, overtaken = mine & (state["_batch"] == batch), mine & (state["_batch"] > batch)
    counts = new_events(state, events, repeated=repeated) & ~overtaken[events.key]
    new = Events(
        key=events.key[counts],
        id=[one for one, is_new in zip(events.id, counts.tolist(), strict=True) if is_new],
        type=events.type[counts],
        at=events.at[counts],
    )
    before = np.where(repeated, state["_before_at"], state["_last_at"])
    last = before.copy()
    np.maximum.at(last, new.key, new.at)
    changes = {
        one.name: changes_of(one, new, key=places[one.name][counts], last=last, before=before) for one in coarser
    }
    own = changes_of(view, new, key=new.key, last=last, before=before)
    folded = remember(fold(view, state, own), new, last=last, horizon=horizon_of(view, coarser))
    touched = np.zeros(len(last), bool)
    touched[events.key] = True
    folded["_run"] = np.where(touched, run, state["_run"])
    folded["_batch"] = np.where(touched, batch, state["_batch"])
    settled = repeated | overtaken | ~touched
    return {name: np.where(settled, state[name], column) for name, column in folded.items()}, changes
