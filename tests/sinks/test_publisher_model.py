"""The steps of a push against random histories: crashes between any two, late writers, lost stores, tables put back."""

import os
import random
from dataclasses import fields

import pytest

from tests.sinks.publisher_model import Broken, World

HISTORIES = int(os.environ.get("PUBLISHER_HISTORIES", "10000"))  # in the slow tests; the quick ones run a few of them
FEW = 5_000
SEED = int(os.environ.get("PUBLISHER_SEED") or random.randrange(10**9))


# Each once ended in a store that was not as gold is. A later lease of older code beside a declared push; one sequence in
# two hands; a push left open that did not know itself what earlier ones had written; one whose record was lost with the
# lake, where an older one under its sequence was left, from before the store was put back.
FOUND = (2_000_028_574, 2_000_086_215, 3_000_419_900, 3_000_452_626, 4_000_681_517, 410_482_883)


def diverged(seeds, broken):
    """The histories, given by their seeds, in which the store ended with something else than gold; found one by one."""
    return (seed for seed in seeds if not World(seed, broken).run())


@pytest.mark.parametrize("histories", [FEW, pytest.param(HISTORIES, marks=pytest.mark.slow)])
def test_the_store_holds_what_gold_holds_whatever_happened(histories):
    seeds = range(SEED, SEED + histories)

    assert list(diverged(seeds, Broken())) == [], f"run again with PUBLISHER_SEED={SEED}"


def test_histories_that_once_diverged_do_not():
    assert list(diverged(FOUND, Broken())) == []


@pytest.mark.parametrize("guard", [field.name for field in fields(Broken)])
def test_the_model_finds_each_guard_that_is_broken(guard):
    assert next(diverged(range(2_000), Broken(**{guard: True})), None) is not None
