"""A reader as it is started from a shell, in processes of its own."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.processes import is_worker
from tailrace.settings import Settings

PATIENCE_SECONDS = 30.0  # far more than anything takes


class Served:
    """A reader that runs; `address` is where."""

    def __init__(self, process: subprocess.Popen[str], address: str, errors: Path) -> None:
        self.process = process
        self.address = address
        self._errors = errors

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def workers(self) -> list[psutil.Process]:
        """Its children but for the helpers that `multiprocessing` keeps, and for those that have ended."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [one for one in children if is_worker(one)]

    def get(self, path: str) -> tuple[int, Any]:
        status, body = self.get_text(path)
        return status, json.loads(body)

    def get_text(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.address + path, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, line: str) -> float:
        """One sample of `/metrics`, by its name and labels; 0 where there is none."""
        _, text = self.get_text("/metrics")
        return sum(float(one.rpartition(" ")[2]) for one in text.splitlines() if one.rpartition(" ")[0] == line)


@contextlib.contextmanager
def served(
    settings: Settings,
    folder: Path,
    *,
    workers: int = 2,
    local: bool = True,
    start_new_session: bool = False,
    **variables: str,
) -> Iterator[Served]:
    """Start a reader over the settings' store, with `TAILRACE_*` variables by what follows that prefix."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    environment |= {"TAILRACE_HOME": str(settings.home), "TAILRACE_STORE_TABLE": settings.store.table}
    environment |= {"TAILRACE_READER_BUDGET_MS": f"{settings.reader.budget_ms:g}"}
    environment |= {f"TAILRACE_{name}": value for name, value in variables.items()}
    command = [sys.executable, "-m", "serving", "--port", "0", "--workers", str(workers)]
    command += ["--local"] if local else []
    errors = folder / "errors.log"
    with errors.open("w") as stderr, (folder / "output.log").open("w") as stdout:
        process = subprocess.Popen(
            command, env=environment, stdout=stdout, stderr=stderr, text=True, start_new_session=start_new_session
        )
    try:
        until(lambda: "serving features on" in (folder / "output.log").read_text() or process.poll() is not None)
        line = (folder / "output.log").read_text()
        assert line.startswith("serving features on http"), errors.read_text()
        yield Served(process, line.split()[3], errors)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def has_ended(pid: int) -> bool:
    """Whether a process does nothing any more, though nobody may have asked how it ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(happened: Callable[[], Any]) -> None:
    """Wait, not for ever, until something is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
