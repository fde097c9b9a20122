"""An error that nobody foresaw as a command reports it: one line, and a log with all of it.

Java's errors come through here, which name what they are about somewhere in pages of stack traces.
"""

import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tailrace.errors import TailraceError, UnexpectedError
from tailrace.extras import missing_extra
from tailrace.settings import Settings, SettingsError, read_settings

KEPT_LOGS = 100
LONGEST = 500  # of a message; the log has the rest
DEEPEST = 20  # of the causes of causes

IN_FOLDER = r"/+([^\s\"'`,;()\[\]{}]+)"
SETTING = re.compile(r"\bTAILRACE_[A-Z_]+\b")
# What Spark and the JVM say where one of our settings is at fault.
HINTS = {
    "JAVA_GATEWAY_EXITED": "TAILRACE_SPARK_MEMORY, TAILRACE_SPARK_JAVA_OPTIONS",
    "Could not parse Master URL": "TAILRACE_SPARK_MASTER",
    "Java heap space": "TAILRACE_SPARK_MEMORY",
    "GC overhead limit": "TAILRACE_SPARK_MEMORY",
    "No FileSystem for scheme": "TAILRACE_LAKE, TAILRACE_LANDING",
    "Failed to construct kafka consumer": "TAILRACE_KAFKA, TAILRACE_KAFKA_PROPERTIES",
}


def as_shown(error: Exception) -> TailraceError | OSError:
    """The error as a command shows it, in one line: itself, or one that leads to a log with its traceback.

    Of the builtin errors an `OSError` is shown as it is: it names the file that is missing or may not be written.
    """
    if isinstance(error, TailraceError | OSError):
        return error
    missing = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
    if missing is not None:
        return missing
    settings = settings_or_none()
    causes = list(causes_of(error))
    said = next((text for text in reversed(causes) if text), type(error).__name__)
    first, last = shortened(causes[0]), shortened(said)
    message = first if last in first else f"{first} ({last})"
    everything = "\n".join([*traceback.format_exception(error), *causes])
    named = [name for name in names_in(everything, settings) if name not in message]
    about = f"; it is about {', '.join(named)}" if named else ""
    log = write_log(everything, settings)
    if log is None:
        sys.stderr.write(f"{everything}\n")
    where = f"all of it is in {log}" if log else "no log of it can be written"
    return UnexpectedError(f"{message}{about}; {where}", log=log)


def settings_or_none() -> Settings | None:
    try:
        return read_settings()
    except SettingsError:
        return None


def causes_of(error: BaseException) -> Iterator[str]:
    """The message of an error, then of its causes, each as `kind: message`; Java's are asked of Java."""
    seen: BaseException | None = error
    for _ in range(DEEPEST):
        if seen is None:
            return
        java = getattr(seen, "java_exception", None) or getattr(seen, "_origin", None)
        if java is not None:
            yield from causes_in_java(java)
            return
        yield f"{type(seen).__name__}: {seen}"
        seen = seen.__cause__


def causes_in_java(java: Any) -> Iterator[str]:
    try:
        for _ in range(DEEPEST):
            if java is None:
                return
            kind, _, message = str(java.toString()).partition(": ")
            yield f"{kind.rpartition('.')[2]}: {message}"
            java = java.getCause()
    except Exception as gone:  # noqa: BLE001 - the JVM may have ended meanwhile, and the known facts are still reported
        yield f"{type(gone).__name__}: {gone}"


def shortened(text: str) -> str:
    """The first line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:LONGEST] if lines else ""


def names_in(text: str, settings: Settings | None) -> list[str]:
    """The landed files, the tables and the settings that a text names, each once."""
    found = [hint for mark, hint in HINTS.items() if mark in text] + SETTING.findall(text)
    if settings is not None:
        found += [".".join(place.split("/")[:2]) for place in places_in(text, settings.lake)]
        found += places_in(text, settings.landing)
    return [name for name in dict.fromkeys(found) if name]


def places_in(text: str, root: str) -> list[str]:
    """The places below a root that a text names, from there on; Java writes paths as they are, and as URIs."""
    folder = root.removeprefix("file://").rstrip("/")
    spelled = "|".join(re.escape(one) for one in dict.fromkeys([folder, quote(folder, safe="/:")]))
    return [unquote(place).rstrip(".:") for place in re.findall(f"(?:{spelled}){IN_FOLDER}", text)]


def write_log(text: str, settings: Settings | None) -> Path | None:
    """Keep a traceback below the home, or among temporary files where that cannot be written; old ones go.

    None if neither can be written, as on a full disk.
    """
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    where = [settings.home] if settings else []
    for folder in (*(home / "logs" for home in where), Path(tempfile.gettempdir()) / "tailrace-logs"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{at}-{os.getpid()}.log"
            path.write_text(f"{' '.join(sys.argv)}\n\n{text}\n", errors="backslashreplace")
        except OSError:
            continue
        for old in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
        return path
    return None
