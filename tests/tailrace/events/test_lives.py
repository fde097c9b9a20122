import numpy as np
import pytest

from tailrace.events.draws import DAY, NEVER, Draws, Lives, invent_lives

START, END = 1_000 * DAY, 1_030 * DAY
NOW, LATER, LATEST = 10, 20, 30
OLD, DELETED, RESTORED, NEW = range(4)
LIVES = Lives(
    created=np.array([1, 2, 3, NOW]),
    deleted=np.array([NEVER, NOW, NOW, NEVER]),
    restored=np.array([NEVER, NEVER, LATER, NEVER]),
)


@pytest.mark.parametrize(
    ("document", "time", "deleted"),
    [
        *((OLD, LATEST, False), (DELETED, NOW - 1, False), (DELETED, NOW, True), (DELETED, LATEST, True)),
        *((RESTORED, LATER, True), (RESTORED, LATER + 1, False)),
    ],
)
def test_a_document_is_deleted_from_its_deletion_until_it_comes_back(document, time, deleted):
    assert LIVES.is_deleted(np.array([document]), np.array([time])).tolist() == [deleted]


def test_a_document_is_unborn_until_its_creation_has_passed():
    assert LIVES.is_unborn(np.array([NEW, NEW]), np.array([NOW, NOW + 1])).tolist() == [True, False]


def test_old_documents_that_are_never_deleted_last():
    assert LIVES.is_lasting(since=5).tolist() == [True, False, False, False]


def test_a_document_is_created_then_deleted_then_created_anew():
    lives = invent_lives(4_000, events=30_000, start=START, end=END, draws=Draws("x", 1))

    created_in_range, deleted, restored = lives.created > START, lives.deleted < NEVER, lives.restored < NEVER
    assert created_in_range.sum() == 360  # 0.3 % per day
    assert 80 < deleted.sum() <= 120  # 0.4 % of the events, less those that would precede the creation
    assert (deleted & created_in_range).any()
    assert 10 < restored.sum() < deleted.sum() / 2
    assert (lives.created < lives.deleted).all()
    assert (lives.deleted <= lives.restored).all()
    assert (lives.deleted[restored] < lives.restored[restored]).all()
    assert END - DAY < max(lives.created.max(), lives.deleted[deleted].max()) <= END


def test_few_events_leave_few_documents_to_begin_and_end():
    lives = invent_lives(1_000, events=8, start=START, end=END, draws=Draws("x", 1))

    assert (lives.created > START).sum() == 2
    assert (lives.deleted < NEVER).sum() <= 1


def test_few_documents_never_all_end():
    lives = invent_lives(40, events=100_000, start=START, end=END, draws=Draws("x", 1))

    assert (lives.deleted < NEVER).sum() <= 2
