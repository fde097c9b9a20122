"""What a home remembers of its stream: a command without TAILRACE_KAFKA goes by it as well."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tailrace.settings import Settings, read_settings

Remembered = dict[str, str | int | None]


def settings_of_home(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings, with the topic that the home remembers where they name no Kafka."""
    settings = read_settings(environment)
    known = remembered(settings)
    if settings.stream.kafka or known is None:
        return settings
    topic = {"TAILRACE_KAFKA": str(known["kafka"]), "TAILRACE_KAFKA_TOPIC": str(known["topic"])}
    return read_settings({**environment, **topic})


def remembered(settings: Settings) -> Remembered | None:
    """The servers and the topic of the stream, and the port of an own broker; None where the home has no stream."""
    try:
        known: Remembered = json.loads(record(settings).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return known


def record(settings: Settings) -> Path:
    """The file that has it."""
    return settings.run_folder / "streaming.json"
