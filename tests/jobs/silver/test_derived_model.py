"""Whatever happens between runs, a derived table is what its parents give from scratch: in plain Python, by the thousand."""

import os
import random

from tests.jobs.silver.derived_model import History

HISTORIES = int(os.environ.get("DERIVED_HISTORIES", "4000"))
SEED = int(os.environ.get("DERIVED_SEED", random.randrange(10**9)))


def test_a_derived_table_is_what_its_parents_give_whatever_happened():
    for number in range(HISTORIES):
        seed = SEED + number
        try:
            History(seed).play()
        except AssertionError as error:
            raise AssertionError(f"DERIVED_SEED={seed}: {error}") from error
