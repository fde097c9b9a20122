"""Fetch what is missing or damaged into a folder of tools, one process at a time.

Every step looks first and does only what is missing, and an interrupted run is finished by the next.
"""

import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailrace.downloads import jars, store_binary
from tailrace.downloads.java import find_java_problem
from tailrace.downloads.pins import DownloadError
from tailrace.downloads.sources import Sources, installed_sources


def fetch_tools(tools: Path, *, stream: bool) -> None:
    """Fetch JARs and store with the installed packages; with `stream` Kafka's JARs too.

    Raises `DownloadError` where something is missing for that, or a download is not the pinned file.
    """
    problem = find_java_problem()
    if problem:
        raise DownloadError(problem)
    sources = installed_sources()
    with one_at_a_time(tools), scratch(tools) as work:
        prepare(tools, sources, stream=stream, work=work)


def prepare(tools: Path, sources: Sources, *, stream: bool, work: Path) -> None:
    """Bring the JARs and the store in `tools` to what the locks name."""
    for folder, lock in (jars.SPARK_SETS | jars.STREAM_SETS if stream else jars.SPARK_SETS).items():
        jars.prepare(tools / folder, lock, sources=sources, work=work)
    store_binary.prepare(tools, sources, work=work)


def repin(sources: Sources, *, work: Path) -> None:
    """Write the sums of what the registries have now under the names in the locks."""
    jars.repin(sources, work=work)
    store_binary.repin(sources, work=work)


@contextmanager
def one_at_a_time(tools: Path) -> Iterator[None]:
    """Let a second set-up of the same folder wait for the first one."""
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another set-up of {tools} to end.", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch(tools: Path) -> Iterator[Path]:
    """Give a folder next to the results, from where a finished file moves into its place in one step."""
    work = tools / "unfinished"
    shutil.rmtree(work, ignore_errors=True)  # a killed set-up left it
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
