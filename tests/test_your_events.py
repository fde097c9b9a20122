"""The tutorial of one's own events is followed to the letter: each command and each piece of a file on its page."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from bench.followed import free_port
from tailrace import definitions
from tailrace.cli import app as cli
from tailrace.definitions.load import load_anew
from tailrace.schemas.slots import last_tick
from tailrace.store.embedded import DIRECT
from tailrace.workspace import refresh as refreshes
from tailrace.workspace.workspace import Workspace
from tests.conftest import PATIENT_MS, SPARK

PAGE = Path(__file__).parents[1] / "docs" / "your-events.md"
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PORT = "6566"


@pytest.fixture
def follower(spark, tmp_path, monkeypatch):
    """Somebody who does what the page says, at one time."""
    now = last_tick(datetime.now(UTC))
    monkeypatch.setattr(refreshes, "last_tick", lambda _: now)
    monkeypatch.setattr(definitions, "load_definitions", load_anew)  # as a process of its own would
    monkeypatch.chdir(tmp_path)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with mock.patch.dict(os.environ, SPARK | {"PATH": path, "TAILRACE_READER_BUDGET_MS": PATIENT_MS}):
        made = Follower(monkeypatch)
        yield made
        made.stop()


class Follower:
    """Runs commands: those of Tailrace in this process, which has Spark, others in a shell."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch
        self.port = str(free_port())
        self.readers = []
        self.printed = []

    def follow(self, kind, text):
        if kind == "python":
            with Path("features/searches.py").open("a") as file:
                file.write(f"\n\n{text}")
            return
        for command in re.sub(r"\n  +", " ", text).splitlines():
            self.printed.append(self.run(command.replace(PORT, self.port)))

    def run(self, command):
        words = shlex.split(command)
        if words[0] == "cd":
            self.monkeypatch.chdir(words[1])
            return ""
        if words[:2] == ["tailrace", "serve"]:
            return self.serve(words[1:])
        if words[0] == "tailrace":
            done = CliRunner().invoke(cli.app, words[1:], catch_exceptions=False)
            assert done.exit_code == 0, done.output
            return done.stdout
        return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout

    def serve(self, words):
        self.readers.append(subprocess.Popen([sys.executable, "-m", "tailrace.cli.app", *words]))
        for _ in range(240):
            try:
                DIRECT.open(f"http://127.0.0.1:{self.port}/health").close()
                return ""
            except urllib.error.URLError:
                time.sleep(0.25)
        raise AssertionError("the reader did not start")

    def stop(self):
        for reader in self.readers:
            reader.terminate()
            reader.wait(60)
        if Path("tailrace.toml").exists():
            CliRunner().invoke(cli.app, ["store", "stop"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_leads_to_a_correction_that_pushes_one_row(follower):
    steps = FENCE.findall(PAGE.read_text(encoding="utf-8"))

    for kind, text in steps:
        follower.follow(kind, text)

    printed = "".join(follower.printed)
    assert "product_clicks │ batch │ new" in re.sub(r" +", " ", printed)
    (answer,) = [json.loads(text) for text in follower.printed if '"results"' in text]
    assert {status for one in answer["results"] for status in one["statuses"]} == {"PRESENT", "NOT_FOUND"}
    before, after = (int(found) for found in re.findall(r"clicks_7d +│ (\d+)", printed))
    assert after == before + 1
    newest, *_ = Workspace().runs()
    counts = {name: (one["pushed"], one["removed"]) for name, one in newest["views"].items()}
    assert counts == {"product_clicks": (1, 0), "query_activity": (0, 0)}
