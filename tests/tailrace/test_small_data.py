"""A JVM for little data has one compiler, and one for much data, or for who knows how much, has both."""

from dataclasses import replace
from pathlib import Path

import pytest

from tailrace.workspace import resources
from tailrace.workspace.resources import ONE_COMPILER, fitting, for_many_rows, has_little


@pytest.fixture
def little(make_settings, monkeypatch):
    """A home with 90 bytes in two folders, of which 100 are little."""
    monkeypatch.setattr(resources, "LITTLE", 100)
    settings = make_settings()
    for place in (Path(settings.landing) / "events", Path(settings.lake) / "silver" / "interactions"):
        place.mkdir(parents=True)
        (place / "file").write_bytes(b"-" * 45)
    return settings


def test_a_home_with_little_data_has_one_compiler_and_options_that_are_set_win(little):
    assert fitting(little).java_options == f"{ONE_COMPILER} {little.spark.java_options}"


def test_a_home_that_is_not_there_yet_has_little(make_settings):
    assert has_little(make_settings("none"))


@pytest.mark.parametrize("place", ["landing", "lake"])
def test_a_home_with_much_data_is_not(little, place):
    (Path(getattr(little, place)) / "large").write_bytes(b"-" * 11)

    assert fitting(little) == little.spark


@pytest.mark.parametrize(
    "elsewhere",
    [{"TAILRACE_LAKE": "s3a://bucket/lake"}, {"TAILRACE_LANDING": "hdfs://host/in"}, {"TAILRACE_KAFKA": "127.0.0.1:9"}],
    ids=lambda one: next(iter(one)),
)
def test_data_that_cannot_be_counted_here_may_be_any_amount(make_settings, elsewhere):
    assert not has_little(make_settings(**elsewhere))


def test_a_link_in_a_circle_and_a_file_that_vanishes_count_nothing_that_matters(little, monkeypatch):
    (Path(little.landing) / "circle").symlink_to(little.landing)
    assert has_little(little)

    monkeypatch.setattr(Path, "lstat", vanished)
    assert has_little(little)


def vanished(*_):
    raise FileNotFoundError


def test_a_measurement_has_both_compilers_however_little_there_is_at_the_start(little):
    measured = replace(little, spark=for_many_rows(replace(little.spark, java_options="-Xss4m")))

    *compilers, stack = fitting(measured).java_options.split()

    assert compilers[-1] == "-XX:TieredStopAtLevel=4"  # Java takes the last
    assert stack == "-Xss4m"
