"""The shipped definitions keep their contract: rankers are trained on these names."""

import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest

from tailrace.definitions import Type, load_definitions
from tailrace.settings import CHECKOUT

WINDOWS = ("15m", "1h", "24h", "7d", "30d", "total")
INT, TEXT, TIME = Type.INT64, Type.STRING, Type.TIMESTAMP

KEYS = {
    "document_activity": ("document_id",),
    "actor_activity": ("actor_id",),
    "actor_document_affinity": ("actor_id", "document_id"),
    "document_profile": ("document_id",),
    "document_relevance": ("document_id",),
    "actor_document_recent": ("actor_id", "document_id"),
    "document_recent": ("document_id",),
}
FEATURES = {
    "document_activity": {
        **{f"{name}_{window}": INT for name in ("events", "views", "edits") for window in WINDOWS},
        **{f"distinct_actors_{window}": INT for window in ("24h", "7d", "30d")},
        "first_event_at": TIME,
        "last_event_at": TIME,
        "last_edit_at": TIME,
        "is_deleted": Type.BOOL,
    },
    "actor_activity": {
        **{f"events_{window}": INT for window in ("24h", "7d", "30d")},
        **{f"distinct_documents_{window}": INT for window in ("7d", "30d")},
        "last_event_at": TIME,
    },
    "actor_document_affinity": {
        **{f"events_{window}": INT for window in ("24h", "7d", "30d", "total")},
        "edits_30d": INT,
        "last_event_at": TIME,
    },
    "document_profile": {
        "type": TEXT,
        "size_bytes": INT,
        "folder_depth": INT,
        "owner": TEXT,
        "title_length": INT,
        "updated_at": TIME,
    },
    "document_relevance": {"relevance": Type.FLOAT64, "judged_by": TEXT},
    "actor_document_recent": {"last_opened_at": TIME},
    "document_recent": {},
}
ON_DEMAND = {"hours_since_last_edit": Type.FLOAT64, "edit_trend": Type.FLOAT64}
ON_DEMAND |= dict.fromkeys(("opens_15m", "opens_1h", "recent_events_15m", "recent_distinct_actors_15m"), INT)

# A ranker asks for them where a stream runs.
STREAMED = {"actor_document_recent", "document_recent"}
STREAMED |= {"opens_15m", "opens_1h", "recent_events_15m", "recent_distinct_actors_15m"}

NOON = np.datetime64("2026-03-01T12:00:00", "us")


def told(view):
    return [feature for feature in view.features if feature.name in view.public_names]


@pytest.fixture(scope="module")
def shipped():
    return load_definitions()


def test_the_shipped_views_are_these(shipped):
    assert {name: view.keys for name, view in shipped.views.items()} == KEYS


@pytest.mark.parametrize("view", FEATURES)
def test_a_shipped_view_has_exactly_the_features_promised(shipped, view):
    assert {feature.name: feature.type for feature in told(shipped.view(view))} == FEATURES[view]


def test_the_shipped_on_demand_features_are_these(shipped):
    assert {name: feature.type for name, feature in shipped.on_demand.items()} == ON_DEMAND


def test_the_ranker_asks_for_everything(shipped):
    assert list(shipped.services) == ["ranker"]
    assert set(shipped.services["ranker"].features) == {*KEYS, *ON_DEMAND} - STREAMED


def test_the_finer_view_stands_before_the_views_that_count_its_rows(shipped):
    order = list(shipped.views)

    assert order.index("actor_document_affinity") < min(order.index("document_activity"), order.index("actor_activity"))


def test_deleted_documents_and_faded_affinities_are_offline(shipped):
    conditions = {name: view.online_when for name, view in shipped.views.items()}

    assert conditions == {
        "document_activity": "not is_deleted",
        "actor_document_affinity": "events_30d > 0",
        "actor_activity": None,
        "document_profile": None,
        "document_relevance": None,
        "actor_document_recent": None,
        "document_recent": None,
    }


def test_silver_tables_a_view_reads_are_known_from_its_definition(shipped):
    inputs = {name: (view.inputs, view.wants_as_of) for name, view in shipped.views.items()}

    assert inputs.pop("document_profile") == (("documents",), False)
    assert inputs.pop("document_relevance") == ((), True)
    assert set(inputs.values()) == {(("interactions",), True)}


def test_every_definition_says_who_answers_for_it_and_what_it_is(shipped):
    definitions = [*shipped.views.values(), *shipped.on_demand.values(), *shipped.services.values()]

    assert all(definition.owner and definition.description for definition in definitions)
    assert all(feature.meaning for view in shipped.views.values() for feature in view.features)
    assert {view.freshness for view in shipped.batch_views.values()} == {timedelta(minutes=30), timedelta(hours=1)}


def test_hours_since_the_last_edit_count_up_to_now(shipped):
    feature = shipped.on_demand["hours_since_last_edit"]
    last_edit_at = NOON - np.array([0, 90, -30, 24 * 60], "m8[m]")

    assert feature.wants_now
    assert feature.inputs == ("document_activity:last_edit_at",)
    assert feature.compute(last_edit_at, now=NOON).tolist() == [0.0, 1.5, -0.5, 24.0]


def test_hours_since_the_last_edit_keep_their_fraction(shipped):
    hours = shipped.on_demand["hours_since_last_edit"].compute(NOON - np.array([9], "m8[us]"), now=NOON)

    assert hours.tolist() == [9 / 3.6e9]


def test_edit_trend_is_the_last_day_over_the_daily_mean_of_the_week(shipped):
    feature = shipped.on_demand["edit_trend"]

    trend = feature.compute(np.array([3, 0, 14], "i8"), np.array([7, 21, 14], "i8"))

    assert not feature.wants_now
    assert feature.inputs == ("document_activity:edits_24h", "document_activity:edits_7d")
    assert trend.tolist() == [3.0, 0.0, 7.0]


def test_edit_trend_of_a_week_without_edits_is_nan_which_stands_for_null(shipped):
    with np.errstate(all="ignore"):
        trend = shipped.on_demand["edit_trend"].compute(np.array([0], "i8"), np.array([0], "i8"))

    assert np.isnan(trend).tolist() == [True]


@pytest.mark.parametrize(
    "program",
    [
        "from tailrace.definitions import load_definitions; load_definitions()",
        "import serving, serving.app, serving.process.worker, serving.process.supervisor, serving.openapi",
        "from tailrace.store import arrow, codec, control, embedded, keys, memory, port; from tailrace.store.dynamodb import calls, connections, store",
    ],
)
def test_definitions_and_reader_never_load_spark(program):
    command = [sys.executable, "-c", f"{program}\nimport sys; print(*sys.modules)"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"tailrace", "serving"} & loaded
    assert not {"pyspark", "delta", "py4j", "boto3", "botocore"} & loaded


def test_the_folder_of_this_checkout_defines_what_is_shipped():
    shipped, here = load_definitions(), load_definitions([str(CHECKOUT / "features")])

    assert here.views == shipped.views
    assert (here.on_demand.keys(), here.services) == (shipped.on_demand.keys(), shipped.services)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("from features.language import FeatureView", "tailrace.definitions"),
        ("from features.entities import DOCUMENT", "tailrace.shipped.entities"),
    ],
)
def test_what_was_imported_before_is_still_there_and_says_where_it_went(line, place):
    command = [sys.executable, "-W", "always", "-c", line]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT)

    assert "DeprecationWarning" in done.stderr
    assert place in done.stderr
