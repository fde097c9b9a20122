"""Random histories in the model of a refresh: increments come to the full computation, and a planted bug does not."""

import os
import random
from typing import Any

import pytest

from tests.jobs.gold.refresh_model import BUGS, NOTHING, Gold, ModelStep, ModelView, Row, full, refresh

MODEL_HISTORIES = int(os.environ.get("MODEL_HISTORIES", "3000"))
REFRESHES = 6
WINDOWS = (None, 1, 3, 8)
WHERES = (None, ("flag", True), ("type", "buy"), ("flag", None))


def drawn_views(choose: random.Random) -> list[ModelView]:
    """The views of one history: one of pairs, and one of each of its keys that counts its rows."""
    windows = tuple(choose.sample(WINDOWS, choose.randint(1, 3)))
    common: dict[str, Any] = {
        "where": choose.choice(WHERES),
        "windows": windows,
        "types": choose.choice(((), ("buy",))),
    }
    common["line_where"] = choose.choice((None, *WHERES))
    pairs = ModelView(keys=("a", "b"), **common)
    return [pairs, *(ModelView(keys=(key,), base=pairs, **common) for key in "ab")]


def drawn_row(choose: random.Random, as_of: int) -> dict[str, Any]:
    """An event around the edges of windows, also later than the refresh; keys and flags may be null."""
    return {
        "time": as_of - choose.choice((0, 1, 3, 8, 20)) + choose.randint(-1, 1),
        "a": choose.choice((None, "u", "v")),
        "b": choose.choice((None, 1, 2)),
        "type": choose.choice(("buy", "view")),
        "flag": choose.choice((None, True, False)),
        "amount": choose.choice((-3, 0, 2)),
    }


def changed(choose: random.Random, silver: dict[str, Row], as_of: int) -> dict[str, Row]:
    """Silver after some events came, were corrected, moved, delivered again, or erased."""
    after = dict(silver)
    for _ in range(choose.randint(0, 4)):
        name = f"e{choose.randint(0, 7)}"
        if choose.random() < 0.2:
            after.pop(name, None)
        elif name in after and choose.random() < 0.5:
            field = choose.choice(("time", "a", "b", "type", "flag", "amount"))
            after[name] = after[name] | {field: drawn_row(choose, as_of)[field]}
        else:
            after[name] = drawn_row(choose, as_of)
    return after


def differing(seed: int, broken: str) -> list[str]:
    """What differs between gold brought forward and gold computed in full, at the first refresh that shows it."""
    choose = random.Random(seed)
    silver: dict[str, Row] = {}
    views, since = drawn_views(choose), 100
    golds: list[Gold] = [{} for _ in views]
    for number in range(REFRESHES):
        until = since + choose.choice((1, 1, 2, 9, 30))
        after = changed(choose, silver, until)
        base_before, base_after = golds[0], golds[0]
        for place, view in enumerate(views):
            golds[place] = refresh(
                view,
                golds[place],
                ModelStep(silver, after, since, until),
                base_before=base_before,
                base_after=base_after,
                broken=broken,
            )
            base_after = golds[0]
            expected = {key: row.plain() for key, row in full(view, after, until).items()}
            found = {key: row.plain() for key, row in golds[place].items()}
            if found != expected:
                return [f"seed {seed}, refresh {number}, {view.keys}: {found} is not {expected}"]
        silver, since = after, until
    return []


def test_increments_come_to_the_full_computation_on_any_history():
    wrong = [text for seed in range(MODEL_HISTORIES) for text in differing(seed, NOTHING)]

    assert not wrong, wrong[0]


@pytest.mark.parametrize("bug", BUGS)
def test_the_histories_find_a_planted_bug(bug):
    assert any(differing(seed, bug) for seed in range(200))
