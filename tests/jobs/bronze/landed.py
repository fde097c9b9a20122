"""Files in a landing folder, a load that only claims them, and what bronze has of them."""

import gzip
import json
import os
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.bronze.listing import Known, Listing, claim, declared_tables, new_files
from tests import feeds

NOW = datetime(2026, 3, 2, 10, 11, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)
FUTURE = datetime(2040, 1, 1, tzinfo=UTC)
WRITTEN = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)

EVENT = {"event_id": "e1", "event_type": "edit", "actor_id": "u1", "document_id": "d1"}
EVENT |= {"occurred_at": "2026-03-01T09:08:07Z", "source": "drive"}


def event(event_id, **changes):
    return json.dumps(EVENT | {"event_id": event_id} | changes)


def land(path, *lines, text=None, at=WRITTEN):
    """Write a file of lines; `.gz` is compressed, and each is as old as `at`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = (text if text is not None else "".join(line + "\n" for line in lines)).encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    os.utime(path, (at.timestamp(), at.timestamp()))


def land_parquet(path, *ids, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist([EVENT | {"event_id": event_id} | changes for event_id in ids]), path, compression="none"
    )
    os.utime(path, (WRITTEN.timestamp(), WRITTEN.timestamp()))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-12])


def rows(lake, table, *columns):
    return sorted(map(tuple, lake.read(table).select(*columns).collect()), key=repr)


def claim_everything(lake, folder, *, batch):
    """What a load of events does first, and nothing after it: the process is gone."""
    listing = Listing.of(lake, str(folder), feeds.FEEDS)
    files = list(new_files(lake, listing, feeds.EVENTS))
    known = Known(listing=listing.digest, declared=declared_tables(feeds.FEEDS))
    claim(lake, files, batch=batch, now=NOW, known=known)
    return files


def blocked_by(loaded, kind, *, feed="events"):
    """Why a load has a feed blocked, and no other."""
    [(name, reason)] = loaded.blocked.items()
    assert (name, type(reason)) == (feed, kind)
    return reason
