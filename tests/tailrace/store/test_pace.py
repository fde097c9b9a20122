"""The pace: halved by throttling, recovered slowly, never beyond its bounds."""

import asyncio

from tailrace.store.pace import Pace


def test_throttling_halves_the_limit_and_never_below_one():
    pace = Pace(8)

    limits = []
    for entered in range(5):
        pace.fall(entered)
        limits.append(pace.limit)

    assert limits == [4, 2, 1, 1, 1]


def test_requests_that_were_throttled_together_count_once():
    pace = Pace(8)

    for _ in range(8):
        pace.fall(0)

    assert pace.limit == 4


def test_the_limit_rises_by_about_one_for_as_many_successes_as_there_are_places():
    pace = Pace(8)
    pace.fall(0)

    for _ in range(4):
        pace.rise()

    assert 4.8 < pace.limit <= 5


def test_the_limit_never_rises_above_where_it_began():
    pace = Pace(2)

    for _ in range(100):
        pace.rise()

    assert pace.limit == 2


def test_no_more_are_under_way_than_the_limit_and_all_get_their_turn():
    async def go():
        pace, most, done = Pace(8), [], []
        pace.fall(0)

        async def work(number):
            async with pace.place():
                most.append(pace.under_way)
                await asyncio.sleep(0)
            done.append(number)

        await asyncio.gather(*(work(number) for number in range(50)))
        return max(most), sorted(done), pace.under_way

    assert asyncio.run(go()) == (4, list(range(50)), 0)


def test_a_request_that_failed_or_was_cancelled_gives_its_place_back():
    async def go():
        pace = Pace(1)

        async def hang():
            async with pace.place():
                await asyncio.Event().wait()

        hanging = asyncio.create_task(hang())
        await asyncio.sleep(0)
        hanging.cancel()
        async with asyncio.timeout(5), pace.place():
            return pace.under_way

    assert asyncio.run(go()) == 1


def test_places_are_given_in_the_order_in_which_they_were_asked_for():
    async def go():
        pace, turns = Pace(4), []
        for entered in range(3):
            pace.fall(entered)

        async def work(name):
            for _ in range(3):
                async with pace.place():
                    turns.append(name)
                    await asyncio.sleep(0)

        await asyncio.gather(*(work(name) for name in "abc"))
        return "".join(turns)

    assert asyncio.run(go()) == "abcabcabc"


def test_who_gives_up_waiting_takes_no_place_away():
    async def go():
        pace = Pace(1)

        async def wait():
            async with pace.place():
                pass

        async with pace.place():
            given_up, patient = asyncio.create_task(wait()), asyncio.create_task(wait())
            await asyncio.sleep(0)
            given_up.cancel()
        await patient
        return pace.under_way

    assert asyncio.run(go()) == 0
