"""Plain files beside the tables."""

import os
from datetime import UTC, datetime

import pytest

from tailrace.lake import storage
from tailrace.lake.storage import list_files

NINE = datetime(2026, 3, 1, 9, 0, 0, 500_000, tzinfo=UTC)


@pytest.fixture(autouse=True, params=["local", "object store"])
def listed_as(request, monkeypatch):
    """Local files are listed in one way, all others in another; here both list local files."""
    if request.param == "object store":
        monkeypatch.setattr(storage, "LOCAL", "no scheme")
    return request.param


def land(folder, name, text="text"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NINE.timestamp(), NINE.timestamp()))


def test_every_file_is_listed_with_its_name_size_and_time(spark, tmp_path):
    land(tmp_path, "a.jsonl", "four")
    land(tmp_path, "2026/03/b.jsonl", "")

    files = {file.name: file for file in list_files(spark, str(tmp_path))}

    assert {name: (file.bytes, file.modified_at) for name, file in files.items()} == {
        "a.jsonl": (4, NINE),
        "2026/03/b.jsonl": (0, NINE),
    }
    assert files["a.jsonl"].path == f"file:{tmp_path}/a.jsonl"


def test_a_name_that_looks_like_a_status_is_a_name(spark, tmp_path):
    odd = "x; isDirectory=false; length=1; modification_time=2; {path=y}\n.jsonl"
    land(tmp_path, odd, "four")

    assert [(file.name, file.bytes, file.modified_at) for file in list_files(spark, str(tmp_path))] == [(odd, 4, NINE)]


def test_a_folder_without_files_and_one_that_is_not_there_list_nothing(spark, tmp_path):
    (tmp_path / "empty").mkdir()

    assert list_files(spark, str(tmp_path)) == list_files(spark, str(tmp_path / "nowhere")) == []


def test_questions_to_java_do_not_grow_with_the_number_of_files(spark, tmp_path, monkeypatch):
    asked = []
    client = spark.sparkContext._gateway._gateway_client
    ask = client.send_command

    def counted(command, *arguments, **options):
        asked.append(command)
        return ask(command, *arguments, **options)

    monkeypatch.setattr(client, "send_command", counted)

    def questions(folder):
        asked.clear()
        list_files(spark, str(folder))
        return sum(not command.startswith("m\n") for command in asked)  # those end the life of an object

    land(tmp_path / "few", "0.jsonl")
    for number in range(50):
        land(tmp_path / "many", f"{number}.jsonl")

    assert questions(tmp_path / "many") == questions(tmp_path / "few") > 0
