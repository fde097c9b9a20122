"""The words of code and documentation: the field's own, not invented ones."""

from tests.words import ALLOWED, CEILINGS, INSTEAD, too_frequent


def test_no_avoided_word_occurs_more_often_than_its_ceiling():
    assert not too_frequent()


def test_ceilings_stand_for_words_that_are_still_above_what_is_allowed():
    assert set(CEILINGS) <= set(INSTEAD)
    assert all(ceiling > ALLOWED for ceiling in CEILINGS.values())
