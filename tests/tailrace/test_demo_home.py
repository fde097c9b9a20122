"""The demo empties the home it runs in, so it must be sure whose home that is."""

import pytest

from tailrace.demo.events import MARKER, STATE, empty_home
from tailrace.errors import CommandError
from tailrace.store import embedded
from tailrace.store.embedded import runs


def write(path, text="kept"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_home_that_is_not_there_becomes_the_demos(make_settings):
    settings = make_settings()

    empty_home(settings)

    assert (settings.home / MARKER).is_file()
    assert [path.name for path in settings.home.iterdir()] == [MARKER]


def test_the_demos_own_home_is_emptied(make_settings):
    settings = make_settings()
    empty_home(settings)
    for name in STATE:
        write(settings.home / name / "deep" / "file")

    empty_home(settings)

    assert [path.name for path in settings.home.iterdir()] == [MARKER]


def test_what_else_lies_in_the_demos_home_stays(make_settings):
    settings = make_settings()
    empty_home(settings)
    note = write(settings.home / "notes.txt")

    empty_home(settings)

    assert note.read_text() == "kept"


def test_the_store_of_the_demos_home_is_stopped_before_it_is_removed(make_settings):
    settings = make_settings()
    empty_home(settings)
    running = embedded.start(settings)

    empty_home(settings)

    assert not runs(running.pid)
    assert not (settings.home / "store").exists()


@pytest.mark.parametrize("name", STATE)
def test_a_home_that_holds_other_state_is_refused_and_left_alone(make_settings, name):
    settings = make_settings()
    file = write(settings.home / name / "table" / "part.parquet")

    with pytest.raises(CommandError, match=f"{settings.home} holds {name} that are not the demo's; .*TAILRACE_HOME="):
        empty_home(settings)

    assert file.read_text() == "kept"
    assert not (settings.home / MARKER).exists()


def test_a_running_store_of_another_home_goes_on(make_settings):
    settings = make_settings()
    running = embedded.start(settings)

    with pytest.raises(CommandError, match="holds store"):
        empty_home(settings)

    assert embedded.status(settings) == running


def test_empty_folders_are_nobodys(make_settings):
    settings = make_settings()
    (settings.home / "lake").mkdir(parents=True)

    empty_home(settings)

    assert (settings.home / MARKER).is_file()


def test_a_home_whose_store_was_asked_to_stop_holds_nothing_yet(make_settings):
    settings = make_settings()
    embedded.stop(settings)

    empty_home(settings)

    assert (settings.home / MARKER).is_file()


@pytest.mark.parametrize("name", ["TAILRACE_LANDING", "TAILRACE_LAKE"])
@pytest.mark.parametrize("place", ["{outside}", "s3a://bucket/lake", "file://{home}/lake", "{home}/../outside"])
def test_what_lies_outside_the_home_is_refused(make_settings, tmp_path, name, place):
    place = place.format(outside=tmp_path / "outside", home=tmp_path / "home")
    file = write(tmp_path / "outside" / "part.parquet")
    settings = make_settings(**{name: place})

    with pytest.raises(CommandError, match=f"{name} is .*, outside {settings.home}; unset it for the demo"):
        empty_home(settings)

    assert file.exists()
    assert not settings.home.exists()


@pytest.mark.parametrize("name", ["TAILRACE_LANDING", "TAILRACE_LAKE"])
def test_tables_elsewhere_in_the_home_are_not_taken_for_the_demos(make_settings, tmp_path, name):
    write(tmp_path / "home" / "warehouse" / "gold" / "part.parquet")
    settings = make_settings(**{name: str(tmp_path / "home" / "warehouse")})

    with pytest.raises(CommandError):
        empty_home(settings)


def test_a_store_elsewhere_is_refused(make_settings):
    settings = make_settings(TAILRACE_STORE_URL="http://store.example:8000")

    with pytest.raises(CommandError, match=r"TAILRACE_STORE_URL is http://store.example:8000; unset it for the demo"):
        empty_home(settings)

    assert not settings.home.exists()


def test_two_demos_in_two_homes_do_not_touch_each_other(make_settings):
    one, two = make_settings("one"), make_settings("two")
    empty_home(one)
    file = write(one.home / "lake" / "part.parquet")

    empty_home(two)

    assert file.exists()
