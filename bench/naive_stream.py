"""`python -m bench.naive_stream`: the naive way to follow a topic, until stopped.

What would be written first: each event in turn reads an item with boto3, changes its counts and writes it back, once for
the pair of actor and document and once for the document. Nothing is counted once only: neither an event that comes again
nor one that was under way when the process was killed.
"""

import argparse
from datetime import datetime
from typing import Any

import boto3
import orjson
from confluent_kafka import Consumer, TopicPartition

from tailrace.store.dynamodb.calls import KEY

GROUP = "naive"
COUNTS = "minutes"  # of every item: how many events of each of the last minutes
KEPT_MINUTES = 60
COMMIT_MS = 500

Item = dict[str, Any]


def take(table: Any, event: dict[str, str]) -> None:
    """Change what the table has of the event's pair and of its document."""
    actor, document, at = event["actor_id"], event["document_id"], event["occurred_at"]
    for key, fact in ((pair_key(actor, document), "last_opened_at"), (document_key(document), f"actor {actor}")):
        item = table.get_item(Key={KEY: key}, ConsistentRead=True).get("Item", {KEY: key, COUNTS: {}})
        table.put_item(Item=counted(item, at, fact))


def counted(item: Item, at: str, fact: str) -> Item:
    """An item after one more event at a time, of which a fact keeps the latest."""
    minute = minute_of(at)
    counts = {one: count for one, count in item[COUNTS].items() if int(one) > minute - KEPT_MINUTES}
    counts[str(minute)] = counts.get(str(minute), 0) + 1
    return item | {COUNTS: counts, fact: max(at, item.get(fact, ""))}


def minute_of(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp()) // 60


def pair_key(actor: str, document: str) -> str:
    return f"pair|{actor}|{document}"


def document_key(document: str) -> str:
    return f"document|{document}"


def consumed(servers: str, topic: str) -> int:
    """How many messages of a topic the naive way has consumed, half a second ago at most."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": GROUP})
    partitions = [
        TopicPartition(topic, number) for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    committed = consumer.committed(partitions, timeout=10)
    consumer.close()
    return sum(max(0, partition.offset) for partition in committed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Follow a topic, one event after the other.")
    for option in ("--servers", "--topic", "--store", "--region", "--table"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    store = boto3.resource(
        "dynamodb", endpoint_url=options.store, region_name=options.region,
        aws_access_key_id="local", aws_secret_access_key="local",
    )  # fmt: skip
    table = store.Table(options.table)
    settings = {"bootstrap.servers": options.servers, "group.id": GROUP, "auto.offset.reset": "earliest"}
    consumer = Consumer(settings | {"auto.commit.interval.ms": COMMIT_MS})
    consumer.subscribe([options.topic])
    while True:
        message = consumer.poll(1.0)
        if message is not None and not message.error():
            take(table, orjson.loads(message.value() or b""))


if __name__ == "__main__":
    main()
