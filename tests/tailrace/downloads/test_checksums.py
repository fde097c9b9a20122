"""Downloads are what the locks name, byte for byte."""

from pathlib import Path

import pytest

from tailrace.downloads import jars
from tailrace.downloads.pins import LOCKS, DownloadError, PinnedFile, Sources, read_pins, require_pinned, sha256_of

NOTHING = Sources(ivy=Path("no-ivy.jar"), npm=("no-npm",))


@pytest.fixture
def folder(tmp_path):
    """A folder with one JAR as a lock of its own names it, and one that no lock names."""
    made = tmp_path / "jars"
    made.mkdir()
    made.joinpath("whole-1.0.jar").write_bytes(b"whole")
    made.joinpath("stray-0.9.jar").write_bytes(b"stray")
    lock = tmp_path / "own.lock"
    lock.write_text(f"# Ours.\n\n{sha256_of(made / 'whole-1.0.jar')}  org.ours:whole:1.0\n")
    return made, lock


def test_a_folder_that_is_whole_is_not_fetched_again_and_loses_what_no_lock_names(folder, tmp_path):
    made, lock = folder

    jars.prepare(made, lock, sources=NOTHING, work=tmp_path)

    assert [path.name for path in made.iterdir()] == ["whole-1.0.jar"]


def test_a_damaged_file_is_fetched_again_and_nothing_is_installed_where_that_fails(folder, tmp_path, monkeypatch):
    made, lock = folder
    made.joinpath("whole-1.0.jar").write_bytes(b"damaged")
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    fetched.joinpath("whole-1.0.jar").write_bytes(b"another")
    monkeypatch.setattr(jars, "fetch", lambda *_, **__: fetched)

    with pytest.raises(DownloadError, match=r"org\.ours:whole:1\.0"):
        jars.prepare(made, lock, sources=NOTHING, work=tmp_path)
    assert made.joinpath("whole-1.0.jar").read_bytes() == b"damaged"


def test_the_error_names_both_checksums_and_the_lock(tmp_path):
    path = tmp_path / "file.jar"
    path.write_bytes(b"other")

    with pytest.raises(DownloadError) as raised:
        require_pinned(path, PinnedFile("00ff", "org.ours:file:1"), lock=Path("own.lock"))
    assert all(part in str(raised.value) for part in ("org.ours:file:1", "00ff", sha256_of(path), "own.lock"))


def test_a_line_that_is_not_a_pin_is_named(tmp_path):
    lock = tmp_path / "own.lock"
    lock.write_text("a b c\n")

    with pytest.raises(DownloadError, match=r"own\.lock"):
        read_pins(lock)


def test_every_lock_of_the_package_is_read_by_one_set_or_by_the_store():
    read = {*jars.SPARK_SETS.values(), *jars.STREAM_SETS.values(), LOCKS / "store.lock"}

    assert set(LOCKS.glob("*.lock")) == read
    assert all(len(pin.sha256) == 64 for lock in read for pin in read_pins(lock))
