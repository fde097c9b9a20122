"""A stream with a store and a folder of its own."""

import pytest

from tests.jobs.streaming.folder_stream import Stream


@pytest.fixture
def stream(spark, make_settings, tmp_path):
    return Stream(spark, make_settings(), tmp_path)
