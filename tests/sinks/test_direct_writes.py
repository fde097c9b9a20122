"""Direct writes in the lake: from the log to bronze, to the history, and back into a store that lost them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.bronze import load
from sinks import direct_writes
from sinks.history import features_by_fingerprint, last_sequence, open_keys
from sinks.purge import look_over, purge_tombstones
from sinks.reconcile import Reconciled
from tailrace.definitions import load_definitions
from tailrace.schemas import bronze, view_tables
from tailrace.store.dynamodb.calls import KEY, binary
from tailrace.store.dynamodb.store import once_key
from tests import feeds
from tests.sinks.direct_lane import NOW, RELEVANCE, score_of
from tests.store_client import with_client


@pytest.mark.slow
def test_what_was_written_is_in_bronze_and_history_once_and_mends_a_lost_store(lane):
    lane.write(("d1", 10_000_000, 0.1), ("d2", 10_000_000, 0.2), ("d3", 10_000_000, 0.3))
    lane.write(("d1", 20_000_000, 0.4), ("d2", 20_000_000, None), ("d3", 5_000_000, 0.9))
    loaded = lane.load()
    first = direct_writes.record_writes(lane.lake, RELEVANCE)
    again = direct_writes.record_writes(lane.lake, RELEVANCE)
    before = lane.items()
    lane.lose_store()
    lane.write(("d1", 30_000_000, 0.5), ("d4", 1_000_000, 0.6))
    sent = direct_writes.write_again(lane.lake, lane.address, RELEVANCE)

    assert (loaded.rows["direct_writes"], loaded.quarantined) == (5, 0)
    assert (first, again) == (5, 0)
    for table in (bronze.DIRECT_WRITES, view_tables.history_table("relevance")):
        assert lane.lake.read(table).where("acknowledged_at IS NULL").isEmpty()
    assert features_by_fingerprint(lane.lake, "relevance").keys() == {RELEVANCE.fingerprint}
    [schema] = lane.lake.read(view_tables.SCHEMAS).select("definition").collect()
    assert schema.definition == replace(load_definitions(), views={"relevance": RELEVANCE}).fingerprint(RELEVANCE)
    assert lane.history() == [("d1", 10, 0.1), ("d1", 20, 0.4), ("d2", 10, 0.2), ("d2", 20, None), ("d3", 10, 0.3)]
    assert sent == 2  # d1 has a later value
    assert lane.scores() == {"d1": 0.5, "d2": None, "d3": 0.3, "d4": 0.6}
    assert lane.items()["d3"] == before["d3"]  # value, as-of and order are what they were


@pytest.mark.slow
def test_reconciling_finds_what_differs_and_not_what_is_still_in_the_log(lane, monkeypatch):
    monkeypatch.setattr(direct_writes, "LANDED_SECONDS", 0.0)
    lane.write(*((f"d{i}", 10, 0.5) for i in range(5)), ("gone", 10, None))
    lane.load()
    lane.write(("d4", 20, 0.6), ("d9", 20, 0.7))  # landed, not loaded
    agreed = lane.reconcile()
    item = {"TableName": lane.address.table, "Key": {KEY: {"S": "document|2:d0"}}}
    with_client(lane.address, lambda client: client.call("DeleteItem", item))
    spoiled = {"UpdateExpression": "SET relevance = :v", "ExpressionAttributeValues": {":v": {"B": "AAAA"}}}
    for document in ("d1", "ghost"):
        item["Key"] = {KEY: {"S": f"document|{len(document)}:{document}"}}
        with_client(lane.address, lambda client: client.call("UpdateItem", item | spoiled))
    found = lane.reconcile(repair=True)
    after = lane.reconcile()

    assert agreed == Reconciled(compared=5)
    assert found == Reconciled(compared=6, missing=1, different=1, ghost=1, repaired=2)
    assert after == Reconciled(compared=6, ghost=1)
    assert score_of(binary(lane.items()["d0"], "relevance")) == 0.5


@pytest.mark.slow
def test_a_dead_process_leaves_its_log_to_the_next_refresh(lane):
    lane.write(("d1", 10, 0.1))
    landing = lane.where.landing
    files = list((lane.where.folder.parent / "landing" / "direct_writes").glob("*.jsonl"))
    [content] = [file.read_bytes() for file in files]
    files[0].unlink()
    lane.where.folder.mkdir(exist_ok=True)
    # What a process that died after it had told of nothing leaves: an intent alone.
    intent = (
        b'{"number":0,"view":"relevance","keys":{"document_id":"d9"},"occurred_at":"1970-01-01T00:00:00.000010Z","revision":1,'
        b'"values":{"score":0.9,"at":null},"accepted_at":"1970-01-01T00:00:00.000010Z"}\n'
    )
    (lane.where.folder / "dead.log").write_bytes(intent)
    definitions = replace(load_definitions(), views={"relevance": RELEVANCE})

    failures = direct_writes.finish_logs(lane.address, definitions, lane.where)

    assert (failures, list(lane.where.folder.iterdir())) == ([], [])
    assert lane.scores() == {"d1": 0.1, "d9": 0.9}
    assert load.run(lane.lake, feeds.intake(landing), now=NOW).rows["direct_writes"] == 1
    assert content


def test_what_is_remembered_of_writes_goes_when_its_day_is_over_and_views_are_found(lane):
    async def remember(client):
        for name, seconds in (("old", -1), ("young", 60)):
            item = {KEY: {"S": once_key(name)}, "expires": {"N": str(int(NOW.timestamp()) + seconds)}}
            await client.call("PutItem", {"TableName": client.table, "Item": item})

    with_client(lane.address, remember)
    lane.write(("d1", 10, 0.1))

    found = [look_over(lane.address, now=NOW) for _ in range(2)]
    assert [one.forgotten for one in found] == [1, 0]
    assert {one.views for one in found} == {frozenset({"relevance"})}
    assert lane.scores() == {"d1": 0.1}


@pytest.mark.slow
def test_direct_writes_are_no_pushes_to_a_publisher(lane):
    lane.write(("d1", 10, 0.1), ("d1", 20, None))
    lane.load()
    direct_writes.record_writes(lane.lake, RELEVANCE)

    assert last_sequence(lane.lake, RELEVANCE) == 0
    assert open_keys(lane.lake, RELEVANCE, after=None) is None
    assert purge_tombstones(lane.lake, lane.address, RELEVANCE, now=NOW + timedelta(days=3)) == 0
    assert lane.scores() == {"d1": None}
