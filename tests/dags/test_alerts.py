"""Whom a failure or a late run is told to."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tailrace.dags import alerts


def test_failures_and_late_runs_are_logged_and_handed_to_the_function_that_is_named(monkeypatch, caplog):
    told: list[str] = []
    paging = ModuleType("ours_paging")
    vars(paging)["page"] = told.append
    monkeypatch.setitem(sys.modules, "ours_paging", paging)
    monkeypatch.setenv("TAILRACE_ALERTS", "ours_paging:page")
    task = SimpleNamespace(dag_id="feature_refresh", task_id="publish", run_id="r1")

    with caplog.at_level(logging.ERROR):
        alerts.failed({"ti": task, "exception": "no store"})
        alerts.late("feature_refresh", 15.0)

    assert told == [
        "feature_refresh.publish failed in run r1: no store",
        "feature_refresh is late: a run was not done after 15 minutes",
    ]
    assert [record.message for record in caplog.records] == [f"alert: {text}" for text in told]


@pytest.mark.parametrize(("before", "alerts_sent"), [(None, 1), ("success", 1), ("upstream_failed", 1), ("failed", 0)])
def test_what_failed_the_time_before_is_not_told_again(monkeypatch, before, alerts_sent):
    told: list[str] = []
    monkeypatch.setattr(alerts, "send", told.append)
    previous = before and SimpleNamespace(state=before)
    task = SimpleNamespace(dag_id="feature_stream", task_id="guard", run_id="r2", get_previous_ti=lambda: previous)

    alerts.failed_anew({"ti": task, "exception": "it lags"})

    assert len(told) == alerts_sent
