"""What the stream of a home follows, and up to where it has come."""

from jobs.streaming.rebuild import Source
from settings import Settings


def source_of(settings: Settings) -> Source:
    checkpoint = settings.home / "stream" / "checkpoint"
    return Source(kafka=bool(settings.stream.kafka), folder=f"{settings.landing}/events", checkpoint=checkpoint)
