"""The list of planted bugs is one that can be planted; `make soak` plants them."""

from tests.planted import PAGE, ROOT, load_bugs, page_of


def test_every_planted_bug_has_its_text_once_and_its_test():
    assert [problem for bug in load_bugs() if (problem := bug.problem_in(ROOT))] == []


def test_no_bug_is_planted_twice_and_none_changes_nothing():
    bugs = load_bugs()

    assert len({(bug.file, bug.old, bug.new) for bug in bugs}) == len(bugs)
    assert [bug.breaks for bug in bugs if bug.old == bug.new] == []


def test_the_page_of_planted_bugs_is_the_list():
    assert PAGE.read_text() == page_of(load_bugs())
