"""The settings that a project's folder has for commands that start there."""

import os

import pytest

from tailrace.settings import SettingsError, read_settings, with_project
from tailrace.settings.project import PROJECT_FILE


@pytest.fixture
def project(tmp_path):
    def write(text):
        (tmp_path / PROJECT_FILE).write_text(text)
        return tmp_path

    return write


def test_a_project_sets_what_the_environment_does_not(project):
    folder = project('features = "mine"\nhome = "elsewhere"\nretention_hours = 1.5\nsingle_writer = true\n')
    given = {"TAILRACE_HOME": "/given", "TAILRACE_LANDING": "", "PATH": "/bin"}

    found = with_project(given, folder=folder)

    assert found["PATH"] == "/bin"
    settings = read_settings(found)
    assert (str(settings.home), settings.features) == ("/given", ("mine",))
    assert (settings.retention_hours, settings.single_writer) == (1.5, True)


def test_a_folder_without_the_file_changes_nothing(tmp_path):
    assert with_project(os.environ, folder=tmp_path) == dict(os.environ)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('feature = "mine"', "TAILRACE_FEATURES"),
        ("features = mine", "line 1"),
        ('features = ["mine"]', "'features'"),
        ("[home]\npath = 1", "'home'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_name(project, text, named):
    folder = project(text)

    with pytest.raises(SettingsError, match=f"(?s){PROJECT_FILE}.*{named}"):
        with_project({}, folder=folder)


def test_a_file_that_everybody_may_write_is_not_read(project):
    folder = project('features = "mine"\n')
    (folder / PROJECT_FILE).chmod(0o666)

    with pytest.raises(SettingsError, match="chmod o-w"):
        with_project({}, folder=folder)
