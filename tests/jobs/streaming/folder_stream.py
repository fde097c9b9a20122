"""A stream of a folder, which runs until it has taken all that landed."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from jobs.streaming import run
from jobs.streaming.source import Plans, follow_plans
from tailrace.definitions import load_definitions
from tailrace.definitions.stream_view import rings_of
from tailrace.store.address import Address
from tailrace.store.codec import Codec
from tailrace.store.dynamodb.calls import KEY, binary, read_items, scan
from tests.store_client import with_client

DEFINITIONS = """
from datetime import timedelta
from tailrace.shipped.entities import ACTOR, DOCUMENT
from tailrace.definitions import Count, Distinct, FeatureView, Last
about = {'owner': 'ada', 'description': 'Tested.', 'freshness': timedelta(seconds=10), 'lane': 'stream'}
pairs = FeatureView(name='pairs', entities=(ACTOR, DOCUMENT), aggregations=(
    Count(name='opens', types=('open',), over=('15m', '1h')), Last(name='last_opened_at', types=('open',))), **about)
documents = FeatureView(name='documents', entities=(DOCUMENT,), aggregations=(
    Count(name='events', over=('15m',)), Distinct(name='actors', rows_of='pairs', active='events', over=('15m',))), **about)
"""


class Stream:
    def __init__(self, spark, settings, folder, definitions=None):
        self.spark, self.folder = spark, folder
        if definitions is None:
            (folder / "features").mkdir()
            (folder / "features" / "recent.py").write_text(DEFINITIONS)
            definitions = load_definitions((str(folder / "features"),))
        self.definitions, self.source = definitions, definitions.streamed_source.name
        self.address = Address.of(settings)
        self.checkpoint, self.landed = str(folder / "checkpoint"), 0

    def land(self, *lines, name=None, at=None):
        """Land lines in a file of their own, as of a time where one is given."""
        self.landed += 1
        file = self.folder / self.source / (name or f"{self.landed}.jsonl")
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / "unfinished"
        unfinished.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        if at:
            os.utime(unfinished, (at.timestamp(), at.timestamp()))
        unfinished.rename(file)
        return file

    def run(self):
        plans = Plans(str(self.folder / self.source), Path(self.checkpoint))
        plans.look()
        messages = follow_plans(self.spark, plans)
        query = run.start_query(
            messages, self.definitions, self.address, checkpoint=self.checkpoint, folder=plans.folder
        )
        try:
            query.processAllAvailable()
        finally:
            query.stop()

    def keys(self, view):
        """The keys that have a value of a view."""

        async def scanned(client):
            return {item[KEY]["S"] async for page in scan(client, (view,), having=view) for item in page}

        return with_client(self.address, scanned)

    def stored(self, view, key):
        """What the store has of a view for a key; None for nothing."""
        return binary(with_client(self.address, lambda client: read_items(client, [key], (view,))).get(key, {}), view)

    def value(self, view, key):
        """The windows of a key at this moment; None where the store has nothing of it."""
        definition, value = self.definitions.views[view], self.stored(view, key)
        if not value:
            return None
        columns = Codec(view, definition.features).decode([value]).columns
        state = {feature.name: column.values for feature, column in zip(definition.features, columns, strict=True)}
        now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
        return {
            ring.name: ring.value_at(state["_minute"], [state[c.name] for c in ring.columns], now).item()
            for ring in rings_of(definition.aggregations)
        }


def event(number, actor="u1", *, type="open", minutes_ago=1.0):
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return {
        "event_id": f"e{number}",
        "event_type": type,
        "actor_id": actor,
        "document_id": "d1",
        "occurred_at": at.isoformat(),
    }
