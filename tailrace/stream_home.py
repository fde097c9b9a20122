"""Where the stream of a home is: what it follows, its checkpoint, and the lock that the one process of it holds."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from settings import Settings
from tailrace.errors import CommandError

if TYPE_CHECKING:
    from jobs.streaming.rebuild import Source


def folder_of(settings: Settings) -> Path:
    return settings.home / "stream"


def source_of(settings: Settings) -> "Source":
    """What the stream follows, and up to where it has come."""
    from jobs.streaming.rebuild import Source

    topic = settings.stream.topic if settings.stream.kafka else None
    return Source(topic=topic, folder=f"{settings.landing}/events", checkpoint=folder_of(settings) / "checkpoint")


@contextmanager
def the_only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock of a home's stream; raises `CommandError` while another process does."""
    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"the stream of {settings.home} runs already") from None
        yield
