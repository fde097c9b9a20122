"""The leases of a micro-batch in a real store, and a store that lost what the stream had written."""

from operator import methodcaller

import pytest

from jobs.streaming.micro_batch import StoreLost, take_leases
from tailrace.definitions import load_definitions
from tailrace.store.address import Address, with_store
from tests.jobs.streaming.folder_stream import DEFINITIONS


class Stream:
    """Takes leases as micro-batches do, and closes them."""

    def __init__(self, address, views):
        self.address, self.views = address, views

    def take(self, views=None, *, first=False):
        return take_leases(self.address, views or self.views, owner="stream", first=first)

    def take_and_close(self, views=None, *, first=False):
        for name, control in self.take(views, first=first).items():
            closed = {"sequence": control.sequence, "cursor": None, "watermark": 0, "features": ()}
            with_store(self.address, methodcaller("close_push", name, **closed))

    def leased_until(self):
        controls = with_store(self.address, lambda store: store.read_controls([view.name for view in self.views]))
        return {name: control.lease_until for name, control in controls.items()}


@pytest.fixture
def stream(make_settings, tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "recent.py").write_text(DEFINITIONS)
    views = load_definitions((str(tmp_path / "features"),)).streamed
    return Stream(Address.of(make_settings()), views)


def test_a_first_micro_batch_that_was_cut_off_is_repeated(stream):
    before = stream.take(first=True)
    again = stream.take(first=True)

    assert [again[name].sequence - before[name].sequence for name in ("pairs", "documents")] == [1, 1]
    assert all(until > 0 for until in stream.leased_until().values())


def test_a_later_micro_batch_that_finds_nothing_of_the_ones_before_is_refused_until_the_views_are_written(stream):
    for _ in range(2):
        with pytest.raises(StoreLost, match=r"nothing of pairs, documents, .* run `tailrace rebuild`"):
            stream.take()
        assert stream.leased_until() == {"pairs": 0, "documents": 0}

    stream.take_and_close(first=True)
    stream.take()


def test_a_view_that_is_new_beside_others_is_named_and_all_leases_are_given_up(stream):
    pairs = stream.views[0]
    stream.take_and_close([pairs], first=True)

    with pytest.raises(StoreLost, match="nothing of documents, "):
        stream.take()
    assert stream.leased_until() == {"pairs": 0, "documents": 0}
    assert stream.take([pairs])["pairs"].closed
