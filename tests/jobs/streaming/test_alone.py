"""What a rebuild that was cut off leaves behind keeps the stream from going on."""

import pytest

from jobs.streaming.heartbeat import HalfRebuilt, RunsAlready, exclusive, has_run, rebuilding, refuse_half_rebuilt


def test_a_rebuild_that_was_cut_off_is_finished_before_the_stream_begins(tmp_path):
    with pytest.raises(KeyboardInterrupt), rebuilding(tmp_path):
        raise KeyboardInterrupt

    with pytest.raises(HalfRebuilt, match="finish it with `tailrace rebuild`"):
        refuse_half_rebuilt(tmp_path)
    with rebuilding(tmp_path):
        pass
    refuse_half_rebuilt(tmp_path)


def test_a_home_tells_whether_it_ever_had_a_stream(tmp_path):
    assert not has_run(tmp_path)
    with exclusive(tmp_path):
        pass
    assert has_run(tmp_path)


def test_nothing_is_rebuilt_while_the_stream_runs(tmp_path):
    with exclusive(tmp_path), pytest.raises(RunsAlready), rebuilding(tmp_path):
        pass
    refuse_half_rebuilt(tmp_path)
