"""The embedded store, dynoxide: the prebuilt binary of its npm package, as `dynoxide` in the folder of tools."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from tailrace.downloads.pins import LOCKS, DownloadError, Pin, holds, read_pins, require, sha256, write_pins
from tailrace.downloads.sources import Sources

LOCK = LOCKS / "store.lock"
ALTERNATIVES = """\
No embedded store: the pinned binary is for Linux on x86-64, and this is {platform}. Everything else works. Either
  - build it (about ten minutes): cargo install dynoxide-rs --version 3.2.0 --locked
    and set TAILRACE_STORE_BINARY to its path, or
  - set TAILRACE_STORE_URL to any DynamoDB-compatible endpoint."""


def prepare(tools: Path, sources: Sources, *, work: Path) -> None:
    """Fetch the binary unless it is there and whole. On another platform say what to do instead."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        if not {"TAILRACE_STORE_BINARY", "TAILRACE_STORE_URL"} & os.environ.keys():
            print(ALTERNATIVES.format(platform=f"{platform.system()} on {platform.machine()}"), file=sys.stderr)
        return
    (pin,) = read_pins(LOCK)
    binary = tools / "dynoxide"
    if holds(binary, pin) and os.access(binary, os.X_OK):
        return
    print(f"Fetching {pin.name}", file=sys.stderr)
    fetched = fetch(pin, sources=sources, work=work)
    require(fetched, pin, lock=LOCK)
    fetched.chmod(0o755)
    fetched.replace(binary)


def repin(sources: Sources, *, work: Path) -> None:
    """Write the sum of what the registry has now under the name in the lock."""
    (pin,) = read_pins(LOCK)
    write_pins(LOCK, [Pin(sha256(fetch(pin, sources=sources, work=work)), pin.name)])


def fetch(pin: Pin, *, sources: Sources, work: Path) -> Path:
    """Let npm unpack the package, running nothing of it, and return the binary, checked by nobody yet."""
    npm = [*sources.npm, "install", "--prefix", str(work), "--ignore-scripts"]
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    trusting = {"NODE_USE_SYSTEM_CA": "1"} | os.environ  # the certificates that the machine trusts
    answer = subprocess.run([*npm, *quiet, pin.name], env=trusting, capture_output=True, text=True, check=False)
    binary = work / "node_modules" / pin.name.rpartition("@")[0] / "dynoxide"
    if answer.returncode or not binary.is_file():
        output = (answer.stdout + answer.stderr).strip()
        raise DownloadError(f"npm did not fetch {pin.name}. Its output:\n{output}\nRun the set-up again.")
    return binary
