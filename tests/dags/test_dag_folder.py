"""The DAG folder as Airflow loads it: no error, no Spark, schedules, forms and documents."""

import json
from datetime import UTC, datetime

import pytest

from tailrace.schemas.slots import parse_as_of

VARIABLES = {
    "as it is": {},
    "often": {"TAILRACE_REFRESH_MINUTES": "5", "TAILRACE_DEADLINE_MINUTES": "0"},
    "per view": {"TAILRACE_APPLICATION_PER": "view"},
    "streaming": {"TAILRACE_STREAMING": "1"},
}


@pytest.fixture(scope="module")
def loaded(airflow):
    """What is in the folder with each set of environment variables, by their name."""
    return airflow().run("look_at_dags.py", json.dumps(VARIABLES))[0]


@pytest.fixture
def found(loaded):
    return loaded["as it is"]


def test_the_folder_loads_without_error_and_without_spark(loaded, found):
    assert [one["errors"] for one in loaded.values()] == [{}] * len(VARIABLES)
    assert [one["heavy"] for one in loaded.values()] == [[]] * len(VARIABLES)
    names = {"feature_refresh", "feature_backfill", "feature_reconcile", "feature_maintenance", "feature_stream"}
    assert set(found["dags"]) == names


def test_a_task_is_retried_unless_its_application_reports_that_this_would_not_help(found):
    assert found["raised"] == ["AirflowException", "AirflowFailException"]
    # The same of a source that is blocked, until the tries are used up: then the other sources go on.
    assert found["tried again"] == [True, False, False, False]


def test_each_dag_says_what_it_does_whose_it_is_and_what_to_do_when_it_fails(found):
    for dag in found["dags"].values():
        assert "Owner: `search-ranking`" in dag["doc"]
        assert "red" in dag["doc"]
        assert dag["owners"] == ["search-ranking"]


def test_reconciliation_and_maintenance_run_once_a_day_and_never_beside_themselves(found):
    for name in ("feature_reconcile", "feature_maintenance"):
        dag = found["dags"][name]
        assert dag["schedule"].count("*") == 3
        assert (dag["catchup"], dag["max_active_runs"], len(dag["tasks"])) == (False, 1, 1)


def test_a_refresh_runs_every_quarter_of_an_hour_one_at_a_time_and_no_gate_of_a_source_is_in_the_way_of_others(found):
    dag = found["dags"]["feature_refresh"]

    assert (dag["schedule"], dag["catchup"], dag["max_active_runs"], dag["late"]) == ("*/15 * * * *", False, 1, True)
    assert dag["tasks"] == {
        "as_of": [],
        "bronze.load": ["as_of"],
        "bronze.quality_gate": ["bronze.load"],
        "silver.merge": ["bronze.load"],
        "silver.quality_gate": ["silver.merge"],
        "gold.refresh": ["silver.merge"],
        "gold.quality_gate": ["gold.refresh"],
        "publish": ["gold.quality_gate"],
    }


def test_a_refresh_in_airflow_is_of_a_time_that_a_command_would_take(found):
    by_itself, given, far, early, between = found["settled"]

    assert parse_as_of(by_itself) <= datetime.now(UTC)
    assert given == "2026-03-10T12:00:00Z"
    assert "refused: as-of 2962-03-10T12:00:00Z lies beyond the next tick" in far
    assert "refused: as-of 1899-12-31T23:45:00Z lies before 1900" in early
    assert "refused: as-of 2026-03-10T12:01:00Z is not on the" in between


def test_the_form_of_a_refresh_has_typed_fields_that_may_be_left_empty(found):
    params = found["dags"]["feature_refresh"]["params"]

    assert {name: schema["type"] for name, schema in params.items()} == {
        "as_of": ["null", "string"],
        "views": ["null", "array"],
        "full": "boolean",
        "allow": ["null", "string"],
        "set_aside": ["null", "array"],
        "because": ["null", "string"],
    }
    assert params["as_of"]["format"] == "date-time"
    assert all(schema["title"] and schema["description"] for schema in params.values())


def test_the_form_of_a_backfill_asks_for_a_range(found):
    dag = found["dags"]["feature_backfill"]

    assert (dag["schedule"], dag["max_active_runs"], dag["late"]) == (None, 1, False)
    types = {name: (schema["type"], schema.get("format")) for name, schema in dag["params"].items()}
    assert types == {
        "from": ("string", "date-time"),
        "to": ("string", "date-time"),
        "every": ("integer", None),
        "views": (["null", "array"], None),
    }
    assert (dag["params"]["every"]["minimum"], dag["params"]["every"]["multipleOf"]) == (15, 15)


def test_the_interval_and_the_deadline_are_settings(loaded):
    dag = loaded["often"]["dags"]["feature_refresh"]

    assert (dag["schedule"], dag["late"]) == ("*/5 * * * *", False)


def test_where_it_is_set_gold_and_the_push_are_mapped_over_views(loaded):
    dag = loaded["per view"]["dags"]["feature_refresh"]

    assert dag["mapped"] == ["gold.refresh", "publish"]
    assert dag["tasks"]["gold.refresh"] == ["gold.views_apart"]
    assert dag["tasks"]["publish"] == ["gold.quality_gate", "views_to_push"]


def test_the_stream_is_looked_at_every_minute_where_it_is_wanted_and_never_elsewhere(loaded, found):
    dag = loaded["streaming"]["dags"]["feature_stream"]

    assert (dag["schedule"], dag["catchup"], dag["max_active_runs"]) == ("* * * * *", False, 1)
    assert dag["tasks"] == {"keep_running": [], "guard": ["keep_running"]}
    assert found["dags"]["feature_stream"]["schedule"] is None
