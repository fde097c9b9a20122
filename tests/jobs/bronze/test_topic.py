from jobs.bronze.topic import Topic, for_spark


def test_sparks_consumer_waits_for_nothing_unless_the_properties_say_otherwise():
    waits = {"kafka.fetch.max.wait.ms": "1", "kafka.max.poll.records": "20000"}

    assert for_spark({"client.id": "me"}) == waits | {"kafka.client.id": "me"}
    assert for_spark({"fetch.max.wait.ms": "7"}) == waits | {"kafka.fetch.max.wait.ms": "7"}


def test_both_lanes_read_what_was_committed_unless_the_properties_say_otherwise():
    topic = Topic(servers="kafka:9092", name="events")
    eager = Topic(servers="kafka:9092", name="events", properties={"isolation.level": "read_uncommitted"})

    assert topic.client["isolation.level"] == topic.impatient["isolation.level"] == "read_committed"
    assert eager.client["isolation.level"] == eager.impatient["isolation.level"] == "read_uncommitted"


def test_whoever_is_impatient_waits_for_kafka_as_long_as_the_properties_say_or_twenty_seconds():
    topic = Topic(servers="kafka:9092", name="events")
    set_by_hand = Topic(servers="kafka:9092", name="events", properties={"default.api.timeout.ms": "2000"})

    names = ("request.timeout.ms", "default.api.timeout.ms")
    assert [topic.impatient[name] for name in names] == ["20000", "20000"]
    assert [set_by_hand.impatient.get(name) for name in names] == [None, "2000"]


def test_topics_with_properties_are_told_apart():
    topics = [Topic(servers="kafka:9092", name=name, feed=name, properties={"client.id": "me"}) for name in "ab"]

    assert len({topic: topic.feed for topic in topics}) == 2
