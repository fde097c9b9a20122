"""A log whose outcomes are known in part: what is known lands at once, once, whatever dies in between."""

import asyncio
from typing import Any

import pytest

from tailrace.store.direct import log as delivering
from tailrace.store.direct.log import Intent, LogError, Outcomes, Segment
from tailrace.store.direct.replay import Adopter, adopt_all
from tailrace.store.direct.sender import Sender, Unknown
from tailrace.store.direct.writer import FAILURES_SHOWN, DirectWriter, brief
from tailrace.store.dynamodb.store import DynamoStore
from tailrace.store.failures import StoreError
from tests.tailrace.store.direct.conftest import VIEWS, lines_in, stored, value


def intent(number, *, view="relevance"):
    return Intent(
        number=number,
        view=view,
        keys={"document_id": f"d{number}"},
        occurred_at=10,
        revision=number,
        values={"score": 0.5},
        accepted_at=10,
    )


def left_behind(where, *, intents, written=(), kept_out=()):
    """A segment of a process that is gone."""
    segment = Segment.begin(where.folder)
    segment.append([one.to_line() for one in intents])
    segment.append([Outcomes(list(written), [], list(kept_out)).to_line(acknowledged_at=10)])
    segment.close()
    return segment.path


def landed(where):
    return sorted(one["keys"]["document_id"] for one in lines_in(where.landing, "direct_writes/*.jsonl"))


def away(monkeypatch):
    async def refuse(*_, **__):
        raise StoreError("Unreachable", "no answer")

    monkeypatch.setattr(Sender, "write", refuse)


def test_what_is_known_lands_while_the_store_takes_nothing(store, where, monkeypatch):
    left_behind(where, intents=[intent(0), intent(1), intent(2)], written=[0], kept_out=[1])

    async def story(client):
        with monkeypatch.context() as outage:
            away(outage)
            failures = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
            failures += await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
        before = landed(where)
        return failures, before, await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)

    failures, before, after = store.run(story)

    assert ["Unreachable" in one for one in failures] == [True, True]
    assert (before, after) == (["d0"], [])
    assert landed(where) == ["d0", "d2"]
    assert list(where.folder.iterdir()) == []


@pytest.mark.parametrize("death", range(6))
def test_a_death_at_any_step_of_landing_in_parts_lands_each_value_once(store, where, death, monkeypatch):
    """Steps are appends to the log, landings and removals; files of one name are one file."""
    left_behind(where, intents=[intent(0), intent(1)], written=[0])
    steps = []

    def dies(step):
        def take(*arguments, **options):
            steps.append(step)
            if len(steps) == death + 1:
                raise LogError("dead")
            return step(*arguments, **options)

        return take

    async def story(client):
        with monkeypatch.context() as dying:
            dying.setattr(Segment, "append", dies(Segment.append))
            dying.setattr(Segment, "remove", dies(Segment.remove))
            dying.setattr(delivering, "land", dies(delivering.land))
            await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
        failures = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
        return failures, await stored(client, "d1")

    failures, found = store.run(story)

    assert len(steps) > death
    assert (failures, set(found)) == ([], {"d1"})
    assert landed(where) == ["d0", "d1"]
    assert list(where.folder.iterdir()) == []


def test_a_value_of_which_nothing_is_known_is_written_later_and_the_one_beside_it_is_acknowledged(
    store, where, monkeypatch
):
    write_values = Sender.write

    async def lose_the_last(self, rows, *, until):
        return [*await write_values(self, rows[:-1], until=until), Unknown(StoreError("TooLate", ""))]

    async def story(client):
        async with DirectWriter(DynamoStore(client), where, lambda: VIEWS, transactions=True) as lane:
            with monkeypatch.context() as slow:
                slow.setattr(Sender, "write", lose_the_last)
                two = [lane.write([value(f"d{number}", 10, 0.5)]) for number in range(2)]
                done: list[Any] = await asyncio.gather(*two, return_exceptions=True)
        failures = await adopt_all(DynamoStore(client), VIEWS, where, transactions=True)
        return done[0][0].result, done[1].code, failures, await stored(client, "d0", "d1")

    *outcomes, found = store.run(story)

    assert outcomes == [None, "TooLate", []]
    assert (set(found), landed(where)) == ({"d0", "d1"}, ["d0", "d1"])


def test_a_store_that_takes_nothing_is_asked_for_one_segment_at_a_look(store, where, monkeypatch):
    for _ in range(5):
        left_behind(where, intents=[intent(0), intent(1)], written=[0])

    async def story(client):
        away(monkeypatch)
        adopter = Adopter(Sender(DynamoStore(client), transactions=True), lambda: VIEWS, where)
        looks = [await adopter.look() for _ in range(6)]
        return [len(one.failures) for one in looks], adopter.unknown

    assert store.run(story) == ([1, 1, 1, 1, 1, 0], 5)


def test_values_of_a_view_that_is_gone_keep_nothing_else_waiting(store, where):
    left_behind(where, intents=[intent(0), intent(1, view="gone"), intent(2)], written=[0])

    async def story(client):
        adopter = Adopter(Sender(DynamoStore(client), transactions=True), lambda: VIEWS, where)
        looks = [await adopter.look() for _ in range(2)]
        return [why for look in looks for why in look.failures.values()], adopter.unknown

    [failure], unknown = store.run(story)

    assert "1 writes of gone" in failure
    assert unknown == 0
    assert landed(where) == ["d0", "d2"]


def test_a_line_of_the_log_names_the_first_segments_and_counts_the_others():
    assert brief({"a.log": "why"}) == "a.log: why"
    line = brief({f"{number}.log": "why" for number in range(1_000)})
    assert line.count("why") == FAILURES_SHOWN
    assert line.endswith(f"{1_000 - FAILURES_SHOWN} more")
