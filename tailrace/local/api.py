"""Airflow's REST interface, as far as it is needed to run a DAG and to see how it went."""

import json
import time
import urllib.request
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from tailrace.local.service import LocalError
from tailrace.store.embedded import DIRECT

Json = dict[str, Any]

ENDED = ("success", "failed")
ASK_SECONDS = 30.0
LOOK_SECONDS = 0.5


class AirflowApi:
    """Asks one Airflow as one user, who logs in with the first question."""

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.url = url
        self._log_in = {"username": user, "password": password}
        self._token: str | None = None

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        if self._token is None:
            self._token = self._send("POST", "/auth/token", self._log_in)["access_token"]
        return self._send(method, f"/api/v2/dags/{path}", body)

    def _send(self, method: str, path: str, body: Json | None) -> Json:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=data, headers=headers)
        with DIRECT.open(request, timeout=ASK_SECONDS) as answer:
            answered: Json = json.load(answer)
        return answered

    def wait_until_known(self, dag: str, *, seconds: float) -> None:
        """Wait for an Airflow that has just started to read a DAG; raises `LocalError` where it has not by then."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask("GET", dag)
            except HTTPError as error:
                if error.code != HTTPStatus.NOT_FOUND:
                    raise
            else:
                return
            if time.monotonic() > deadline:
                raise LocalError(
                    f"Airflow at {self.url} knows no DAG {dag} after {seconds:g} s; see its dag-processor.log"
                )
            time.sleep(LOOK_SECONDS)

    def runs(self, dag: str, kind: str) -> list[Json]:
        """The runs that were started in one way, `scheduled` or `manual`, oldest first."""
        runs: list[Json] = self.ask("GET", f"{dag}/dagRuns?run_type={kind}&order_by=run_after")["dag_runs"]
        return runs

    def trigger(self, dag: str, form: Json) -> str:
        """Start a run; returns its id."""
        return str(self.ask("POST", f"{dag}/dagRuns", {"logical_date": None, "conf": form})["dag_run_id"])

    def wait(self, dag: str, run: str, *, seconds: float) -> Json:
        """The run, once it has ended; raises `LocalError` where it has not after so many seconds."""
        deadline = time.monotonic() + seconds
        while (found := self.ask("GET", f"{dag}/dagRuns/{quote(run)}"))["state"] not in ENDED:
            if time.monotonic() > deadline:
                raise LocalError(f"{dag}: run {run} is {found['state']} after {seconds:g} s")
            time.sleep(LOOK_SECONDS)
        return found

    def tasks(self, dag: str, run: str) -> dict[str, Json]:
        """The tasks of a run, by id."""
        answered = self.ask("GET", f"{dag}/dagRuns/{quote(run)}/taskInstances")
        return {task["task_id"]: task for task in answered["task_instances"]}
