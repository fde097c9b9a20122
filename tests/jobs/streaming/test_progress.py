"""What a heartbeat makes of what Spark tells of a query."""

from dataclasses import replace

import pytest

from jobs.streaming.heartbeat import Heartbeat, first_heartbeat, look, messages_behind, read_heartbeat, write_heartbeat

NOW = 1_795_842_100.0
BATCH_BEGAN = 1_795_841_974.629  # 2026-11-28T04:59:34.629Z
BEFORE = Heartbeat(pid=1, began=NOW - 500, written=NOW - 1)
BUSY = {"message": "Processing new data", "isDataAvailable": True, "isTriggerActive": True}
ASKING = {
    "message": "Getting offsets from KafkaV2[Subscribe[events]]",
    "isDataAvailable": False,
    "isTriggerActive": True,
}
WAITING = {"message": "Waiting for data to arrive", "isDataAvailable": False, "isTriggerActive": False}
TAKEN, THERE = {"events": {"0": 2, "1": 3}}, {"events": {"0": 12, "1": 3, "2": 5}}


def of_batch(**changed):
    source = {
        "description": "KafkaV2[Subscribe[events]]",
        "startOffset": None,
        "endOffset": TAKEN,
        "latestOffset": TAKEN,
    }
    source |= {name: changed.pop(name) for name in ("endOffset", "latestOffset") if name in changed}
    told = {
        "timestamp": "2026-11-28T04:59:34.629Z",
        "batchId": 7,
        "processedRowsPerSecond": 40.5,
        "durationMs": {"addBatch": 21164, "triggerExecution": 25680},
        "sources": [source],
    }
    return told | changed


def test_a_micro_batch_that_took_all_there_was_is_caught_up_with_the_moment_it_began():
    found = look(BEFORE, of_batch(), BUSY, now=NOW)

    assert (found.follows, found.batch, found.behind, found.rows_per_second) == (True, 7, 0, 40.5)
    assert found.caught_up_to == BATCH_BEGAN


def test_a_micro_batch_that_left_messages_is_not_and_what_was_known_before_stands():
    found = look(replace(BEFORE, caught_up_to=NOW - 300), of_batch(latestOffset=THERE), BUSY, now=NOW)

    assert (found.behind, found.caught_up_to) == (15, NOW - 300)


def test_while_it_waits_it_is_caught_up_with_now_also_after_a_micro_batch_that_left_messages():
    found = look(BEFORE, of_batch(latestOffset=THERE), WAITING, now=NOW)

    assert (found.behind, found.rows_per_second, found.caught_up_to) == (0, 0.0, NOW)


def test_a_query_that_asks_for_offsets_and_gets_no_answer_is_not_caught_up():
    waited = look(BEFORE, of_batch(), WAITING, now=NOW)

    assert look(waited, of_batch(), ASKING, now=NOW + 60).caught_up_to == NOW


@pytest.mark.parametrize("status", [BUSY, ASKING, {**WAITING, "message": "Initializing sources"}])
def test_before_its_first_micro_batch_it_is_not_caught_up(status):
    assert look(BEFORE, None, status, now=NOW).caught_up_to is None


def test_a_look_that_found_nothing_counts_as_no_micro_batch():
    looked = of_batch(batchId=8, durationMs={"latestOffset": 12, "triggerExecution": 12}, processedRowsPerSecond=0.0)

    assert look(look(BEFORE, of_batch(), BUSY, now=NOW), looked, ASKING, now=NOW).batch == 7


def test_a_folder_tells_no_messages_and_is_caught_up_while_it_waits():
    folder = of_batch(endOffset={"logOffset": 3}, latestOffset=None)

    busy, waiting = (look(BEFORE, folder, status, now=NOW) for status in (BUSY, WAITING))

    assert (busy.behind, busy.caught_up_to) == (None, None)
    assert (waiting.behind, waiting.caught_up_to) == (None, NOW)


def test_partitions_that_were_added_count_from_their_beginning():
    assert messages_behind({"endOffset": TAKEN, "latestOffset": THERE}) == 10 + 5


def test_a_failure_is_told_since_when_until_the_next_micro_batch():
    failing = BEFORE.failing("no store", now=NOW).failing("still no store", now=NOW + 9)
    assert (failing.failing_since, failing.error) == (NOW, "still no store")

    assert look(failing, None, BUSY, now=NOW).error == "still no store"
    well = look(failing, of_batch(), BUSY, now=NOW)
    assert (well.failing_since, well.error) == (None, None)


def test_a_process_that_begins_knows_how_far_the_one_before_had_come(tmp_path):
    assert read_heartbeat(tmp_path) is None
    write_heartbeat(
        tmp_path, replace(BEFORE, batch=7, caught_up_to=NOW - 300, follows=True).failing("no store", now=NOW)
    )

    began = first_heartbeat(read_heartbeat(tmp_path), now=NOW)

    assert (began.batch, began.caught_up_to, began.began) == (7, NOW - 300, NOW)
    assert (began.follows, began.failing_since, began.error) == (False, NOW, "no store")


def test_processes_that_end_before_they_have_caught_up_share_one_time_in_which_to():
    well = look(replace(BEFORE, catching_up_since=NOW - 5), None, WAITING, now=NOW)
    first = first_heartbeat(well, now=NOW + 10)
    second = first_heartbeat(look(first, of_batch(latestOffset=THERE), BUSY, now=NOW + 20), now=NOW + 30)

    assert well.catching_up_since is None
    assert (first.catching_up_since, second.catching_up_since) == (NOW + 10, NOW + 10)
    assert look(second, of_batch(), BUSY, now=NOW + 40).catching_up_since is None
