"""The DAG folder as Airflow loads it: no error, no Spark, schedules, forms and documents."""

import json

import pytest

from tests.dags.landed import event, land


@pytest.fixture(scope="module")
def found(airflow):
    return airflow().run("look_at_dags.py")[0]


def test_the_folder_loads_without_error_and_without_spark(found):
    assert found["errors"] == {}
    assert found["heavy"] == []
    assert set(found["dags"]) == {"feature_refresh", "feature_reconcile", "feature_maintenance"}


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


def test_a_refresh_runs_every_quarter_of_an_hour_one_at_a_time_each_layer_behind_the_gate_of_the_one_before(found):
    dag = found["dags"]["feature_refresh"]

    assert (dag["schedule"], dag["catchup"], dag["max_active_runs"], dag["late"]) == ("*/15 * * * *", False, 1, True)
    assert dag["tasks"] == {
        "as_of": [],
        "bronze.load": ["as_of"],
        "bronze.quality_gate": ["bronze.load"],
        "silver.merge": ["bronze.quality_gate"],
        "silver.quality_gate": ["silver.merge"],
        "gold.refresh": ["silver.quality_gate"],
        "gold.quality_gate": ["gold.refresh"],
        "publish": ["gold.quality_gate"],
    }


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


def test_the_interval_and_the_deadline_are_settings(airflow):
    found, _ = airflow(TAILRACE_REFRESH_MINUTES="5", TAILRACE_DEADLINE_MINUTES="0").run("look_at_dags.py")
    dag = found["dags"]["feature_refresh"]

    assert (dag["schedule"], dag["late"]) == ("*/5 * * * *", False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_refreshes_run_by_airflow_stop_at_a_bad_file_and_go_on_without_it(airflow, make_settings):
    settings = make_settings()
    # A short application is mostly the JVM warming up.
    variables = {"TAILRACE_HOME": str(settings.home), "TAILRACE_SPARK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
    in_airflow = airflow(TAILRACE_DEADLINE_MINUTES="0", **variables)

    def run(dag, **form):
        ended, log = in_airflow.run("run_dag.py", dag, json.dumps(form))
        return ended["tasks"], log

    def refresh(**form):
        return run("feature_refresh", **form)

    land(settings.home, "bad.jsonl", *(event(n, occurred_at="1970-01-01T00:00:00Z") for n in range(2, 202)))
    land(settings.home, "fine.jsonl", event(1), event(300, document_id="d3"))
    stopped, log = refresh(as_of="2026-03-10T12:00:00Z")
    assert stopped["bronze.quality_gate"] == "failed"
    assert {stopped[task] for task in stopped if not task.startswith(("as_of", "bronze"))} == {"upstream_failed"}
    assert "They came from events/bad.jsonl" in log

    going_on = {"set_aside": ["events/bad.jsonl"], "because": "its clock was lost"}
    done, log = refresh(as_of="2026-03-10T12:00:00Z", **going_on)
    assert set(done.values()) == {"success"}
    assert "document_activity: 2 of 2 rows changed" in log
    assert "document_activity: 2 values written" in log

    quiet, log = refresh(as_of="2026-03-10T12:00:00Z")
    assert {task for task, state in quiet.items() if state == "skipped"} == {"silver.merge", "silver.quality_gate"}
    assert {quiet[task] for task in ("gold.refresh", "gold.quality_gate", "publish")} == {"success"}
    compared, log = run("feature_reconcile")
    assert compared == {"reconcile": "success"}
    assert "rows compared: 0 missing, 0 ghost, 0 different, 0 repaired" in log

    maintained, log = run("feature_maintenance")
    assert maintained == {"maintain": "success"}
    assert "silver.interactions: 1 data files" in log
