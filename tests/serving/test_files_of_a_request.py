"""How much of the product a maintainer has to open to follow one request."""

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from tailrace.shipped.document_activity import document_activity

ROOT = Path(__file__).parents[2]
PRODUCT = ("serving", "tailrace")
MOST = 22  # files; to shrink, never to grow


def test_a_request_runs_through_few_files_of_the_product(store, reader):
    store.push(document_activity, watermark=datetime(2026, 3, 1, 9, tzinfo=UTC))
    query = {"features": ["document_activity:views_24h"], "entities": {"document_id": ["d1"]}}
    reader.ask(**query)  # what the first request alone needs does not count
    files = set()

    def note(frame, *_):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in PRODUCT:
            files.add(str(path.relative_to(ROOT)))

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        reader.ask(**query)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)

    assert {"serving/app.py", "serving/engine.py"} <= files
    assert len(files) <= MOST, sorted(files)
