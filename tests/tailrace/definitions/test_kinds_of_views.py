"""Each lane has a class of views; `FeatureView(...)` gives one of them, and one more is one class."""

import pickle
from copy import copy
from dataclasses import dataclass, replace

import pytest

from tailrace.definitions import (
    BatchView,
    Count,
    DefinitionError,
    DirectView,
    Feature,
    FeatureView,
    StreamView,
    Type,
)
from tests.tailrace.definitions.test_fingerprints import VIEW

SCORE = (Feature("score", Type.FLOAT64, "a score"),)
STREAMED = replace(VIEW, lane="stream", aggregations=(Count(name="n", over=("15m",)),), online_when=None)
WRITTEN = replace(VIEW, lane="direct", aggregations=(), online_when=None, written_features=SCORE)
KINDS = {BatchView: VIEW, StreamView: STREAMED, DirectView: WRITTEN}


@pytest.mark.parametrize(("kind", "view"), KINDS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_view_is_of_its_lanes_class_however_it_is_made(kind, view):
    declared = {name: value for name, value in vars(view).items() if name in FeatureView.__dataclass_fields__}

    assert type(FeatureView(**declared)) is type(kind(**declared)) is kind
    assert FeatureView(**declared) == kind(**declared) == copy(view) == pickle.loads(pickle.dumps(view)) == view
    assert [type(replace(view, lane=lane)) for lane in ("batch", "stream", "direct")] == [*KINDS]


def test_a_class_of_a_lane_needs_no_lane_and_another_lane_is_another_class():
    declared = {name: getattr(VIEW, name) for name in ("name", "entities", "owner", "description", "freshness")}

    assert StreamView(**declared).lane == "stream"
    assert isinstance(StreamView(**declared, lane="batch"), BatchView)


def test_one_more_kind_of_view_is_one_class(folder, monkeypatch):
    monkeypatch.setattr(FeatureView, "kinds", dict(FeatureView.kinds))

    @dataclass(frozen=True, kw_only=True)
    class Mirrored(DirectView):
        """Values that another store has."""

        lane: str = "mirrored"

    folder.write_view(
        lane="'mirrored'", aggregations="()", written_features="(Feature('score', Type.FLOAT64, 'a score'),)"
    )
    definitions = folder.load()

    assert type(definitions.view("visits")) is Mirrored
    assert definitions.direct_views == definitions.views
    assert FeatureView.kinds["direct"] is DirectView


@pytest.mark.parametrize(
    ("view", "never", "other"),
    [(VIEW, "never pushed", "publish it again"), (STREAMED, "", "write all of it again"), (WRITTEN, "", "")],
)
def test_a_reader_is_not_ready_for_what_the_kind_of_view_says(view, never, other):
    unready = [view.unready(pushed) for pushed in (None, view.fingerprint, "0123")]

    assert [bool(text) for text in unready] == [bool(never), False, bool(other)]
    assert never in unready[0]
    assert other in unready[2]


def test_views_of_the_stream_alone_bring_features_for_their_windows():
    assert {type(view): [*view.windows] for view in KINDS.values()} == {
        BatchView: [],
        StreamView: ["n_15m"],
        DirectView: [],
    }


def test_a_view_that_is_written_counts_no_rows_of_others():
    with pytest.raises(DefinitionError, match="here: a view of the lane direct counts no rows of others, as of 'visi"):
        WRITTEN.check_base_view(VIEW, of="here")
