"""The shipped feeds and their tables, and loads of them, as tests name them."""

from jobs.bronze.load import Intake, Loaded
from tailrace.definitions import load_definitions

DEFINITIONS = load_definitions()
EVENTS, DOCUMENTS, _ = FEEDS = DEFINITIONS.feeds
BRONZE_EVENTS, BRONZE_DOCUMENTS = EVENTS.table, DOCUMENTS.table
EVENT_WORDS = DEFINITIONS.streamed_source.words
INTERACTIONS, DOCUMENT_FACTS = (DEFINITIONS.silver_tables[name] for name in ("interactions", "documents"))


def intake(folder, *topics):
    """Loads of the shipped feeds from a landing folder."""
    return Intake(folder=str(folder), feeds=FEEDS, topics=topics)


def loaded(*, files=0, quarantined=0, waiting=0, **rows):
    """What a load of the shipped feeds reports."""
    every = {feed.name: 0 for feed in FEEDS} | rows
    return Loaded(files=files, rows=every, quarantined=quarantined, waiting=waiting)
