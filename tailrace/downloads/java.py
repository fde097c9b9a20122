"""The Java that Spark would start: where it is, and whether it will do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST_JAVA = 17


def find_java_problem() -> str | None:
    """Return why Java cannot be used, and the way out; None where it can."""
    way_out = f"Install Java {OLDEST_JAVA} or newer and put it on PATH, or set JAVA_HOME to it."
    try:
        answer = subprocess.run([java_command(), "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        return f"Java was not found ({error}). {way_out}"
    output = answer.stderr + answer.stdout
    version = re.search(r'version "((\d+)[^"]*)"', output)
    if version is None:
        return f"`{java_command()} -version` names no version: {output.strip()!r}. {way_out}"
    if int(version.group(2)) < OLDEST_JAVA:
        return f"{java_command()} is Java {version.group(1)}, too old for Spark. {way_out}"
    return None


def java_command() -> str:
    """Return the `java` that Spark would start: JAVA_HOME's, otherwise the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home, "bin/java")) if home else shutil.which("java") or "java"
