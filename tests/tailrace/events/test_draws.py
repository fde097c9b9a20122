import numpy as np

from tailrace.events.draws import Draws, zipf


def test_equal_names_and_keys_draw_equal_numbers():
    first = Draws("teams", 7, 8)

    assert first.raw() == 4_605_902_892_523_386_728
    assert first.uniform(3).tolist() == Draws("teams", 7, 8).uniform(4)[1:].tolist()


def test_another_name_or_key_draws_other_numbers():
    firsts = {Draws(name, *key).raw() for name, key in (("a", (1, 2)), ("b", (1, 2)), ("a", (1, 3)), ("a", (2, 1)))}

    assert len(firsts) == 4


def test_uniform_numbers_fill_the_range_from_0_to_1():
    numbers = Draws("x", 1).uniform(20_000)

    assert 0 <= numbers.min() < 0.001
    assert 0.999 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.01


def test_integers_reach_every_value_below_their_limit():
    limits = np.array([1, 2, 5] * 200)

    numbers = Draws("x", 1).below(limits, 600)

    assert [set(numbers[start::3].tolist()) for start in range(3)] == [{0}, {0, 1}, {0, 1, 2, 3, 4}]


def test_order_holds_each_position_once():
    order = Draws("x", 1).order(50).tolist()

    assert sorted(order) == list(range(50)) != order


def test_positions_are_picked_as_often_as_their_weights_say():
    picked = np.bincount(Draws("x", 1).pick(np.array([0, 1, 0, 3, 0]), 10_000), minlength=5)

    assert picked[[0, 2, 4]].tolist() == [0, 0, 0]
    assert abs(picked[3] / 10_000 - 0.75) < 0.02


def test_positions_within_a_block_are_picked_by_weight():
    first, stop = np.full(10_000, 1), np.full(10_000, 3)

    picked = np.bincount(Draws("x", 1).pick_within(np.array([9.0, 1.0, 3.0, 9.0]), first, stop), minlength=4)

    assert picked[[0, 3]].tolist() == [0, 0]
    assert abs(picked[2] / 10_000 - 0.75) < 0.02


def test_an_empty_block_stands_for_all_positions():
    picked = Draws("x", 1).pick_within(np.ones(3), np.full(100, 2), np.full(100, 2))

    assert set(picked.tolist()) == {0, 1, 2}


def test_zipf_weighs_by_place_in_the_order():
    assert zipf(np.array([2, 0, 1]), head=2).tolist() == [1 / 3, 1 / 4, 1 / 2]
