"""A log whose outcomes are known in part: what is known lands at once, once, whatever dies in between."""

import pytest

from online.direct import deliver as delivering
from online.direct.log import Intent, LogError, Outcomes, Segment
from online.direct.replay import Adopter, adopt_all
from online.direct.write import Sender
from online.direct.writer import FAILURES_SHOWN, brief
from online.wire import StoreError
from tests.online.direct.conftest import VIEWS, lines_in, stored


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
            failures = await adopt_all(client, VIEWS, where, transactions=True)
            failures += await adopt_all(client, VIEWS, where, transactions=True)
        before = landed(where)
        return failures, before, await adopt_all(client, VIEWS, where, transactions=True)

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
            await adopt_all(client, VIEWS, where, transactions=True)
        failures = await adopt_all(client, VIEWS, where, transactions=True)
        return failures, await stored(client, "d1")

    failures, found = store.run(story)

    assert len(steps) > death
    assert (failures, set(found)) == ([], {"d1"})
    assert landed(where) == ["d0", "d1"]
    assert list(where.folder.iterdir()) == []


def test_a_store_that_takes_nothing_is_asked_for_one_segment_at_a_look(store, where, monkeypatch):
    for _ in range(5):
        left_behind(where, intents=[intent(0), intent(1)], written=[0])

    async def story(client):
        away(monkeypatch)
        adopter = Adopter(Sender(client, transactions=True), lambda: VIEWS, where)
        looks = [await adopter.look() for _ in range(6)]
        return [len(one.failures) for one in looks], adopter.unknown

    assert store.run(story) == ([1, 1, 1, 1, 1, 0], 5)


def test_values_of_a_view_that_is_gone_keep_nothing_else_waiting(store, where):
    left_behind(where, intents=[intent(0), intent(1, view="gone"), intent(2)], written=[0])

    async def story(client):
        adopter = Adopter(Sender(client, transactions=True), lambda: VIEWS, where)
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
