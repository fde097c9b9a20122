"""What the naive way leaves of events: counts per minute, and the latest of each fact."""

from bench.naive_stream import counted, document_key, pair_key, take

NINE = "2026-03-02T09:00:30+00:00"
NINE_MINUTE = 29_540_700


class Table:
    """A table as boto3 shows one, in a dictionary."""

    def __init__(self):
        self.items = {}

    def get_item(self, **asked):
        assert asked["ConsistentRead"]
        key = asked["Key"]["pk"]
        return {"Item": self.items[key]} if key in self.items else {}

    def put_item(self, **asked):
        self.items[asked["Item"]["pk"]] = asked["Item"]


def event(actor, at=NINE):
    return {"event_id": "e1", "event_type": "open", "actor_id": actor, "document_id": "d1", "occurred_at": at}


def test_an_event_changes_its_pair_and_its_document():
    table = Table()

    for actor in ("u1", "u2", "u1"):
        take(table, event(actor))

    minute = str(NINE_MINUTE)
    assert table.items[pair_key("u1", "d1")] == {"pk": "pair|u1|d1", "minutes": {minute: 2}, "last_opened_at": NINE}
    assert table.items[document_key("d1")]["minutes"] == {minute: 3}
    assert {"actor u1", "actor u2"} < table.items[document_key("d1")].keys()


def test_minutes_of_more_than_an_hour_ago_are_forgotten_and_an_older_time_is_not_the_latest():
    item = {
        "pk": "k",
        "minutes": {str(NINE_MINUTE - 60): 5, str(NINE_MINUTE - 59): 7},
        "last_opened_at": "2026-03-02T10",
    }

    after = counted(item, NINE, "last_opened_at")

    assert after == {
        "pk": "k",
        "minutes": {str(NINE_MINUTE - 59): 7, str(NINE_MINUTE): 1},
        "last_opened_at": "2026-03-02T10",
    }
