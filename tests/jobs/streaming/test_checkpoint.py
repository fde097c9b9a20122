"""What a checkpoint tells, from files as Spark writes them."""

import json

import pytest

from jobs.bronze.topic import Ends, KafkaAway, Topic
from jobs.streaming.checkpoint import committed_offsets, followed, refuse_steps_back, run_id
from jobs.streaming.run import warn_of_gaps
from tailrace.schemas.landing import LandingError

TOPIC = Topic(servers="kafka:9092", name="events", properties={"sasl.jaas.config": "secret"})


@pytest.fixture
def write(tmp_path):
    def write(number, source, *, committed=True, version="v1"):
        for folder in ("offsets", "commits"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "offsets" / str(number)).write_text(f'{version}\n{{"batchWatermarkMs":0}}\n{source}')
        (tmp_path / "offsets" / f".{number}.crc").write_bytes(b"crc")
        if committed:
            (tmp_path / "commits" / str(number)).write_text('v1\n{"nextBatchWatermarkMs":0}')
            (tmp_path / "commits" / f".{number}.crc").write_bytes(b"crc")
        return tmp_path

    return write


def test_the_last_micro_batch_that_was_written_says_how_far_the_stream_came(write):
    write(9, '{"events":{"0":5,"1":2}}')
    write(10, '{"events":{"0":7,"1":2,"2":4}}')
    checkpoint = write(11, '{"events":{"0":99,"1":99,"2":99}}', committed=False)

    assert committed_offsets(checkpoint) == {0: 7, 1: 2, 2: 4}
    assert committed_offsets(checkpoint, topic="events") == {0: 7, 1: 2, 2: 4}
    assert committed_offsets(checkpoint, topic="events-2") == {}


def test_nothing_is_committed_before_the_first_micro_batch_was_written(write, tmp_path):
    assert committed_offsets(tmp_path) == {}
    assert committed_offsets(write(0, '{"events":{"0":5}}', committed=False)) == {}


@pytest.mark.parametrize(
    ("source", "what"), [('{"events":{"0":5}}', "events"), ('{"logOffset":0}', ""), ("-", None)], ids=str
)
def test_what_is_followed_is_known_from_the_first_micro_batch_that_is_planned(write, tmp_path, source, what):
    assert followed(tmp_path) is None

    assert followed(write(0, source, committed=False)) == what


@pytest.mark.parametrize("later", ['{"events":{"0":4,"1":9}}', '{"events":{"1":9}}'])
def test_a_micro_batch_that_ends_before_the_last_one_is_refused_while_its_topic_is_followed(write, later):
    write(0, '{"events":{"0":5,"1":2}}')
    checkpoint = write(1, later, committed=False)
    with pytest.raises(
        LandingError, match=r"partition 0 ends at offset ., and 5 were consumed of it: it was made anew"
    ):
        refuse_steps_back(checkpoint, 1, topic="events")
    refuse_steps_back(checkpoint, 1, topic="events-2")


@pytest.mark.parametrize("later", ['{"events":{"0":5,"1":0}}', '{"events-2":{"0":0}}'])
def test_a_micro_batch_that_goes_on_or_begins_another_topic_is_taken(write, later):
    write(0, '{"events":{"0":5}}')
    checkpoint = write(1, later, committed=False)
    for topic in ("events", "events-2"):
        refuse_steps_back(checkpoint, 1, topic=topic)


def test_the_first_micro_batch_follows_none(write):
    refuse_steps_back(write(0, '{"events":{"0":5}}', committed=False), 0, topic="events")


@pytest.mark.parametrize("source", ['{"logOffset":3}', "-"])
def test_a_stream_of_files_has_no_partitions(write, source):
    assert committed_offsets(write(0, source)) == {}


def test_a_checkpoint_that_spark_writes_otherwise_is_not_guessed_at(write):
    with pytest.raises(LandingError, match="another version of Spark"):
        committed_offsets(write(0, '{"0":{"events":{"0":5}}}', version="v2"))


def test_another_checkpoint_is_another_run(tmp_path):
    (tmp_path / "metadata").write_text(json.dumps({"id": "374360e9-7f67-44dd-b34b-a3b7d3c4fb5c"}))
    assert run_id(tmp_path) == 0x374360E97F6744D


def ends_at(first, end):
    return Ends(first=first, end=end, appended=end)


def test_messages_that_were_removed_before_they_were_consumed_are_logged(caplog):
    ends = {0: ends_at(8, 9), 1: ends_at(0, 2), 2: ends_at(0, 0), 3: ends_at(4, 4)}
    warn_of_gaps(TOPIC, consumed={0: 5, 1: 2, 2: 0}, ends=ends)

    assert caplog.messages == [
        "topic events, partition 0: Kafka removed the messages at offsets 5 to 7 before the stream took them",
        "topic events, partition 3: Kafka removed the messages at offsets 0 to 3 before the stream took them",
    ]


def test_a_stream_that_has_consumed_nothing_begins_with_what_the_topic_has(caplog):
    warn_of_gaps(TOPIC, consumed={}, ends={0: ends_at(8, 9)})
    assert not caplog.messages


@pytest.mark.parametrize(("partition", "end"), [(0, 4), (1, 9)])
def test_a_topic_that_ends_before_what_was_consumed_is_refused(partition, end):
    with pytest.raises(LandingError, match=r"partition 0 ends at offset .*give the new topic another name") as refused:
        warn_of_gaps(TOPIC, consumed={0: 5}, ends={partition: ends_at(0, end)})
    assert not isinstance(refused.value, KafkaAway)


def test_a_topic_that_could_be_read_further_before_its_transactions_counted_is_tried_again():
    with pytest.raises(KafkaAway, match="partition 0: 4 messages from offset 4 on wait behind an open transaction"):
        warn_of_gaps(TOPIC, consumed={0: 5}, ends={0: Ends(first=0, end=4, appended=8)})


def test_a_topic_shows_no_secret():
    assert "secret" not in repr(TOPIC)
