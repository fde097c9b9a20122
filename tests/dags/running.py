"""An Airflow that `tailrace up` started, its commands and its applications."""

import json
import os
import pty
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psutil

from tailrace.local.airflow import AirflowApi
from tests.dags import warm_submit

TAILRACE = Path(sys.executable).parent / "tailrace"


def at_a_terminal(command, environment):
    """Run a command at a terminal of its own, which closes when the command ends; returns what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], [str(word) for word in command], environment)
    shown = b""
    while True:
        try:
            some = os.read(terminal, 4096)
        except OSError:  # how a terminal ends on Linux
            break
        shown += some
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


class Running:
    """One home with everything running in it."""

    def __init__(self, home, *, airflow_port, reader_port, **variables):
        self.home = home
        self.url = f"http://127.0.0.1:{airflow_port}"
        ports = {"TAILRACE_AIRFLOW_PORT": str(airflow_port), "TAILRACE_READER_PORT": str(reader_port)}
        self.environment = os.environ | {"TAILRACE_HOME": str(home)} | ports | variables
        self.shown = ""

    def up(self):
        """Start everything from a terminal that closes then; `shown` is what it told."""
        code, self.shown = at_a_terminal([str(TAILRACE), "up"], self.environment)
        assert code == 0, self.shown

    def tailrace(self, *arguments):
        """The last line of a command, as JSON."""
        return self.last_line([TAILRACE, *arguments, "--json"])

    def last_line(self, command):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    def in_warm_driver(self, *arguments):
        """The last line of a command, as JSON, that runs where the applications of the DAGs run."""
        return self.last_line([warm_submit.BINARY, "--name", "by-hand", warm_submit.APPLICATION, *arguments, "--json"])

    @property
    def password(self):
        return json.loads((self.home / "airflow" / "passwords.json").read_text())["admin"]

    def tasks(self, dag, run):
        """The tasks of a run, each of a mapped one by itself."""
        return self.airflow.ask("GET", f"{dag}/dagRuns/{quote(run)}/taskInstances")["task_instances"]

    def log(self, dag, run):
        """What the first tries of a run's tasks have logged."""
        tasks = [f"{dag}/dagRuns/{quote(run)}/taskInstances/{task['task_id']}" for task in self.tasks(dag, run)]
        return json.dumps([self.airflow.ask("GET", f"{task}/logs/1") for task in tasks])

    @cached_property
    def airflow(self):
        return AirflowApi(self.url, user="admin", password=self.password)


def until(told, *, seconds, every=0.5):
    """Ask again and again until the answer is not empty; returns it, and fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := told()):
        assert time.monotonic() < deadline, f"nothing in {seconds} s from {told}"
        time.sleep(every)
    return answer


def application(name, home, run):
    """The JVM of a run's application in this home, once Python works beside it; None where there is none."""
    for process in psutil.process_iter():
        try:
            if process.name() != "java" or f"tailrace-{name}" not in process.cmdline():
                continue
            variables = process.environ()
            if (
                variables.get("TAILRACE_HOME") == str(home)
                and variables.get("AIRFLOW_CTX_DAG_RUN_ID") == run
                and process.children()
            ):
                return process
        except psutil.Error:
            continue
    return None
