"""How much of the product a maintainer has to open to follow one request."""

from datetime import UTC, datetime

from tailrace.shipped.document_activity import document_activity
from tests.files_entered import files_entered

MOST = 19  # files; to shrink, never to grow


def test_a_request_runs_through_few_files_of_the_product(store, reader):
    store.push(document_activity, watermark=datetime(2026, 3, 1, 9, tzinfo=UTC))
    query = {"features": ["document_activity:views_24h"], "entities": {"document_id": ["d1"]}}
    reader.ask(**query)  # what the first request alone needs does not count

    with files_entered("serving", "tailrace") as files:
        reader.ask(**query)

    assert {"serving/app.py", "serving/engine.py"} <= files
    assert len(files) <= MOST, sorted(files)
