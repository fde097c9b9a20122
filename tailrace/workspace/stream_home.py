"""What the stream of a home follows, and up to where it has come."""

from jobs.streaming.checkpoint import checkpoint_of
from jobs.streaming.rebuild import Source
from tailrace.settings import Settings


def source_of(settings: Settings) -> Source:
    topic = settings.stream.topic if settings.stream.kafka else None
    checkpoint = checkpoint_of(settings.home)
    return Source(topic=topic, folder=f"{settings.landing}/events", checkpoint=checkpoint)
