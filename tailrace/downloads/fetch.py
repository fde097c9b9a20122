"""Fetch what is missing or damaged into a folder of tools, one process at a time: JARs, and the embedded store's program.

Every step looks first and does only what is missing, and an interrupted run is finished by the next. The store, dynoxide,
is the prebuilt binary of its npm package.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailrace.downloads import jars
from tailrace.downloads.jars import find_java_problem
from tailrace.downloads.pins import (
    LOCKS,
    DownloadError,
    PinnedFile,
    Sources,
    installed_sources,
    is_pinned,
    read_pins,
    require_pinned,
    sha256_of,
    write_pins,
)

LOCK = LOCKS / "store.lock"
ALTERNATIVES = """\
No embedded store: the pinned binary is for Linux on x86-64, and this is {platform}. Everything else works. Either
  - build it (about ten minutes): cargo install dynoxide-rs --version 3.2.0 --locked
    and set TAILRACE_STORE_BINARY to its path, or
  - set TAILRACE_STORE_URL to any DynamoDB-compatible endpoint."""


def prepare_store(tools: Path, sources: Sources, *, work: Path) -> None:
    """Fetch the binary unless it is there and whole. On another platform say what to do instead."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        if not {"TAILRACE_STORE_BINARY", "TAILRACE_STORE_URL"} & os.environ.keys():
            print(ALTERNATIVES.format(platform=f"{platform.system()} on {platform.machine()}"), file=sys.stderr)
        return
    (pin,) = read_pins(LOCK)
    binary = tools / "dynoxide"
    if is_pinned(binary, pin) and os.access(binary, os.X_OK):
        return
    print(f"Fetching {pin.name}", file=sys.stderr)
    fetched = fetch_store(pin, sources=sources, work=work)
    require_pinned(fetched, pin, lock=LOCK)
    fetched.chmod(0o755)
    fetched.replace(binary)


def repin_store(sources: Sources, *, work: Path) -> None:
    """Write the sum of what the registry has now under the name in the lock."""
    (pin,) = read_pins(LOCK)
    write_pins(LOCK, [PinnedFile(sha256_of(fetch_store(pin, sources=sources, work=work)), pin.name)])


def fetch_store(pin: PinnedFile, *, sources: Sources, work: Path) -> Path:
    """Let npm unpack the package, running nothing of it, and return the binary, checked by nobody yet."""
    npm = [*sources.npm, "install", "--prefix", str(work), "--ignore-scripts"]
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    trusting = {"NODE_USE_SYSTEM_CA": "1"} | os.environ  # the certificates that the machine trusts
    answer = subprocess.run([*npm, *quiet, pin.name], env=trusting, capture_output=True, text=True, check=False)
    binary = work / "node_modules" / pin.name.rpartition("@")[0] / "dynoxide"
    if answer.returncode or not binary.is_file():
        output = (answer.stdout + answer.stderr).strip()
        raise DownloadError(f"npm did not fetch_store {pin.name}. Its output:\n{output}\nRun the set-up again.")
    return binary


def fetch_tools(tools: Path, *, stream: bool) -> None:
    """Fetch JARs and store with the installed packages; with `stream` Kafka's JARs too.

    Raises `DownloadError` if something is missing for that, or a download is not the pinned file.
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
    prepare_store(tools, sources, work=work)


def repin(sources: Sources, *, work: Path) -> None:
    """Write the sums of what the registries have now under the names in the locks."""
    jars.repin(sources, work=work)
    repin_store(sources, work=work)


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
