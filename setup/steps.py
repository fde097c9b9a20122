"""The steps of set-up in their order, one process at a time."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from setup import environment, jars, store


def run(checkout: Path, *, repin: bool) -> None:
    """Bring `.venv` and `.tools` of `checkout` up to date; with `repin` write the JARs' and the store's sums anew."""
    tools = checkout / ".tools"
    tools.mkdir(exist_ok=True)
    with alone(tools), scratch(tools) as work:
        environment.prepare(checkout, work=work)
        if repin:
            jars.repin(checkout, work=work)
            store.repin(checkout, work=work)
        jars.prepare(checkout, work=work)
        store.prepare(checkout, work=work)


@contextmanager
def alone(tools: Path) -> Iterator[None]:
    """Let a second set-up of the same checkout wait for the first one."""
    with (tools / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another set-up of this checkout to end.", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch(tools: Path) -> Iterator[Path]:
    """Give a folder beside the results, so that a finished file moves into its place in one step."""
    work = tools / "unfinished"
    shutil.rmtree(work, ignore_errors=True)  # a killed set-up left it
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
