"""Direct writes in the lake: from the log to bronze, to the history, and back into a store that lost them."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts import history
from features.entities import DOCUMENT
from features.language import BATCH, DIRECT, Feature, FeatureView, Type, load_definitions
from jobs.bronze import load
from online.codec import Codec
from online.direct.order import order_attribute
from online.direct.replay import Log
from online.direct.wanted import Value
from online.direct.writer import DirectWriter
from online.items import KEY, binary, ensure_table, scan
from online.keys import control_key, once_key
from online.lanes import OtherLane
from sinks import direct_writes, rebuild, reconcile_direct
from sinks.history import last_sequence, open_keys
from sinks.lease import take, with_client
from sinks.reconcile import Reconciled
from sinks.rows import Address
from sinks.sweep import forget_writes, sweep_view

TABLE_NUMBERS = itertools.count()
NOW = datetime.now(UTC)
RELEVANCE = FeatureView(
    name="relevance",
    entities=(DOCUMENT,),
    owner="tests",
    description="",
    freshness=timedelta(days=1),
    lane=DIRECT,
    written_features=(Feature("score", Type.FLOAT64, ""), Feature("at", Type.TIMESTAMP, "")),
)
AT = "2026-03-01T08:00:00Z"


class Lane:
    """A landing folder, a log and a store, written to by one process after another."""

    def __init__(self, lake, address, folder):
        self.lake, self.address = lake, address
        self.where = Log(folder=folder / "log", landing=str(folder / "landing"))
        with_client(address, ensure_table)

    def write(self, *rows):
        """Write rows of document, time in microseconds, and score, None where the key is to go."""
        values = [
            Value(
                view=RELEVANCE,
                keys={"document_id": document},
                occurred_at=occurred_at,
                values=None if score is None else {"score": score, "at": AT},
            )
            for document, occurred_at, score in rows
        ]

        async def run(client):
            async with DirectWriter(client, self.where, lambda: {"relevance": RELEVANCE}, transactions=True) as lane:
                return await lane.write(values)

        return with_client(self.address, run)

    def load(self):
        return load.run(self.lake, self.where.landing, now=NOW)

    def reconcile(self, *, repair=False):
        return reconcile_direct.reconcile_direct(self.lake, self.address, RELEVANCE, load=self.load, repair=repair)

    def items(self):
        async def read(client):
            return [item async for page in scan(client, ("relevance", order_attribute("relevance"))) for item in page]

        return {
            item[KEY]["S"].split(":")[1]: item
            for item in with_client(self.address, read)
            if not item[KEY]["S"].startswith("#") and "relevance" in item
        }

    def scores(self):
        """By document, None for a tombstone."""
        return {document: score_of(binary(item, "relevance")) for document, item in self.items().items()}

    def lose_store(self):
        async def drop(client):
            await client.call("DeleteTable", {"TableName": client.table})
            await ensure_table(client)

        with_client(self.address, drop)

    def history(self):
        """Rows of document, time, score and sequence, in the order of the times."""
        rows = self.lake.read(history.table("relevance")).where("outcome = 'confirmed'").collect()
        return sorted((row.item_key.split(":")[1], row.as_of.timestamp(), score_of(row.value)) for row in rows)


def score_of(value):
    return float(Codec("relevance", RELEVANCE.features).decode([value]).columns[0].values[0]) if value else None


@pytest.fixture
def lane(lake, writer_url, tmp_path):
    table = f"direct-{next(TABLE_NUMBERS)}"
    address = Address(
        url=writer_url, region="us-east-1", table=table, in_flight=2, writes="transactions", lease_seconds=5
    )
    return Lane(lake, address, tmp_path)


@pytest.mark.slow
def test_what_was_written_is_in_bronze_and_history_once_and_mends_a_lost_store(lane):
    lane.write(("d1", 10_000_000, 0.1), ("d2", 10_000_000, 0.2), ("d3", 10_000_000, 0.3))
    lane.write(("d1", 20_000_000, 0.4), ("d2", 20_000_000, None), ("d3", 5_000_000, 0.9))
    loaded = lane.load()
    first = direct_writes.record(lane.lake, RELEVANCE)
    again = direct_writes.record(lane.lake, RELEVANCE)
    before = lane.items()
    lane.lose_store()
    lane.write(("d1", 30_000_000, 0.5), ("d4", 1_000_000, 0.6))
    sent = direct_writes.write_again(lane.lake, lane.address, RELEVANCE)

    assert (loaded.direct_writes, loaded.quarantined) == (5, 0)
    assert (first, again) == (5, 0)
    assert lane.history() == [("d1", 10, 0.1), ("d1", 20, 0.4), ("d2", 10, 0.2), ("d2", 20, None), ("d3", 10, 0.3)]
    assert sent == 3
    assert lane.scores() == {"d1": 0.5, "d2": None, "d3": 0.3, "d4": 0.6}
    assert lane.items()["d3"] == before["d3"]  # value, as-of and order are what they were


@pytest.mark.slow
def test_reconciling_finds_what_differs_and_not_what_is_still_in_the_log(lane, monkeypatch):
    monkeypatch.setattr(reconcile_direct, "LANDED_SECONDS", 0.0)
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
        b'{"number":0,"view":"relevance","keys":{"document_id":"d9"},"occurred_at":10,"revision":1,'
        b'"values":{"score":0.9,"at":null},"accepted_at":10}\n'
    )
    (lane.where.folder / "dead.log").write_bytes(intent)
    definitions = replace(load_definitions(), views={"relevance": RELEVANCE})

    failures = direct_writes.finish_logs(lane.address, definitions, lane.where)

    assert (failures, list(lane.where.folder.iterdir())) == ([], [])
    assert lane.scores() == {"d1": 0.1, "d9": 0.9}
    assert load.run(lane.lake, landing, now=NOW).direct_writes == 1
    assert content


def test_what_is_remembered_of_writes_goes_when_its_day_is_over(lane):
    async def remember(client):
        for name, seconds in (("old", -1), ("young", 60)):
            item = {KEY: {"S": once_key(name)}, "expires": {"N": str(int(NOW.timestamp()) + seconds)}}
            await client.call("PutItem", {"TableName": client.table, "Item": item})

    with_client(lane.address, remember)
    lane.write(("d1", 10, 0.1))

    assert (forget_writes(lane.address, now=NOW), forget_writes(lane.address, now=NOW)) == (1, 0)
    assert lane.scores() == {"d1": 0.1}


@pytest.mark.slow
def test_direct_writes_are_no_pushes_to_a_publisher(lane):
    lane.write(("d1", 10, 0.1), ("d1", 20, None))
    lane.load()
    direct_writes.record(lane.lake, RELEVANCE)

    assert last_sequence(lane.lake, RELEVANCE) == 0
    assert open_keys(lane.lake, RELEVANCE, after=None) is None
    assert sweep_view(lane.lake, lane.address, RELEVANCE, now=NOW + timedelta(days=3)) == 0
    assert lane.scores() == {"d1": None}


class TestAChangeOfOwner:
    """A view goes from one lane to another and back."""

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch):
        monkeypatch.setattr(rebuild, "LAST_WORDS_SECONDS", 0.0)

    @pytest.fixture
    def lane(self, lane):
        lane.address = replace(lane.address, lease_seconds=0.1)
        return lane

    def test_one_lane_does_not_write_what_is_anothers(self, lane):
        lane.write(("d1", 10, 0.1))

        with pytest.raises(
            OtherLane, match="are those of the lane direct, and this would write them as the lane batch"
        ):
            take(lane.address, "relevance", 0.1)

    def test_what_the_old_owner_left_is_removed_and_what_it_still_sends_is_refused(self, lane):
        lane.write(("d1", 10, 0.1), ("d2", 10, 0.2))
        handed = rebuild.hand_over(lane.address, replace(RELEVANCE, lane=BATCH))
        left = lane.scores()
        taken = take(lane.address, "relevance", 0.1)

        assert (handed.before, handed.removed, left) == ("direct", 2, {})
        assert taken.cursor is None
        with pytest.raises(OtherLane, match="are those of the lane batch"):
            lane.write(("d1", 20, 0.3))
        assert lane.scores() == {}

    def test_a_view_that_comes_back_starts_anew(self, lane):
        lane.write(("d1", 10, 0.1))
        rebuild.hand_over(lane.address, replace(RELEVANCE, lane=BATCH))
        back = rebuild.hand_over(lane.address, RELEVANCE)
        [told] = lane.write(("d1", 5, 0.5))

        assert (back.before, back.removed) == ("batch", 0)
        assert (told.result, lane.scores()) == (None, {"d1": 0.5})

    def test_cut_off_before_all_was_removed_it_goes_on(self, lane, monkeypatch):
        lane.write(("d1", 10, 0.1))

        async def die(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as dying:
            dying.setattr(rebuild, "clear", die)
            with pytest.raises(KeyboardInterrupt):
                rebuild.hand_over(lane.address, replace(RELEVANCE, lane=BATCH))
        again = rebuild.hand_over(lane.address, replace(RELEVANCE, lane=BATCH))

        assert (again.before, again.removed, lane.scores()) == (None, 1, {})

    def test_a_view_that_nobody_had_needs_no_handing_over(self, lane):
        assert rebuild.hand_over(lane.address, RELEVANCE) == rebuild.HandedOver(before=None, removed=0)
        assert control_key("relevance") not in lane.items()
