"""What a machine must have before set-up: a fitting Python, and Java.

Written so that Python 3.6 can read it, to say that it is too old.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)
OLDEST_JAVA = 17


def find_problem() -> "str | None":
    """Return what is missing and the way out, or None."""
    return python_problem() or java_problem()


def python_problem() -> "str | None":
    found = sys.version_info[:2]
    if not OLDEST_PYTHON <= found <= NEWEST_PYTHON:
        return (
            f"Python 3.11, 3.12 or 3.13 is needed, {sys.executable} is {found[0]}.{found[1]}. "
            "Name another one: make setup PYTHON=python3.12"
        )
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        return (
            f"{sys.executable} cannot make virtual environments. "
            f"On Debian and Ubuntu: apt-get install python{found[0]}.{found[1]}-venv"
        )
    return None


def java_problem() -> "str | None":
    way_out = f"Install Java {OLDEST_JAVA} or newer and put it on PATH, or set JAVA_HOME to it."
    try:
        answer = subprocess.run([java_command(), "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"Java was not found ({error}). {way_out}"
    said = answer.stderr + answer.stdout
    version = re.search(r'version "((\d+)[^"]*)"', said)
    if version is None:
        return f"`{java_command()} -version` told no version: {said.strip()!r}. {way_out}"
    if int(version.group(2)) < OLDEST_JAVA:
        return f"{java_command()} is Java {version.group(1)}, too old for Spark. {way_out}"
    return None


def java_command() -> str:
    """Return the `java` that Spark would start: JAVA_HOME's, otherwise the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin/java")) if home else shutil.which("java") or "java"
