from jobs.bronze.topic import for_spark


def test_sparks_consumer_waits_for_nothing_unless_the_properties_say_otherwise():
    waits = {"kafka.fetch.max.wait.ms": "1", "kafka.max.poll.records": "20000"}

    assert for_spark({"client.id": "me"}) == waits | {"kafka.client.id": "me"}
    assert for_spark({"fetch.max.wait.ms": "7"}) == waits | {"kafka.fetch.max.wait.ms": "7"}
