"""The file of keys: how it is written, and what is no such file."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.auth.api_keys import KeysError, read_key_file, remove_key
from tests.serving.auth.conftest import NINE


def test_the_file_holds_no_key_and_is_its_owners_alone(keys):
    key = keys.add("ranker", "read:ranker", "metrics")

    text = keys.path.read_text()
    assert key not in text
    assert key.rpartition("_")[2] not in text
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600
    [entry] = read_key_file(keys.path)
    assert (entry.name, entry.scopes, entry.created, entry.expires) == (
        "ranker",
        ("read:ranker", "metrics"),
        NINE,
        None,
    )
    assert sorted(path.name for path in keys.path.parent.iterdir()) == [".keys.json.lock", "keys.json"]


def test_a_file_that_others_could_read_is_theirs_no_more_once_it_is_written(keys):
    keys.add("first", "read:*")
    keys.path.chmod(0o644)

    keys.add("second", "read:*")

    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_of_a_link_what_it_leads_to_is_written(keys, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    keys.path.symlink_to(tmp_path / "elsewhere" / "keys.json")

    keys.add("ranker", "read:ranker")

    assert keys.path.is_symlink()
    assert [key.name for key in read_key_file(tmp_path / "elsewhere" / "keys.json")] == ["ranker"]


@pytest.mark.parametrize("scope", ["read", "read:", "read:Ranker", "read:a b", "admin", "", "write", "metrics:x"])
def test_a_scope_that_does_not_exist_is_refused(keys, scope):
    with pytest.raises(KeysError, match="is not a scope"):
        keys.add("ranker", scope)

    assert not keys.path.exists()


@pytest.mark.parametrize("name", ["", "a b", "-a", "a\nb", "ä", "a" * 64])
def test_a_name_that_would_confuse_a_log_is_refused(keys, name):
    with pytest.raises(KeysError, match="is not a valid name"):
        keys.add(name, "read:*")


def test_a_name_that_is_taken_is_refused(keys):
    keys.add("ranker", "read:*")

    with pytest.raises(KeysError, match="has a key 'ranker' already"):
        keys.add("ranker", "read:*")


def test_a_key_that_is_not_there_cannot_be_removed(keys):
    keys.add("ranker", "read:*")

    with pytest.raises(KeysError, match="has no key 'rankr'; there are ranker"):
        remove_key(keys.path, "rankr")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"id": 7}, "strings"),
        ({"name": None}, "strings"),
        ({"sha256": "abc"}, "hexadecimal"),
        ({"sha256": "00"}, "64 hexadecimal digits"),
        ({"scopes": "read:*"}, "strings"),
        ({"scopes": [1]}, "strings"),
        ({"expires": "2026-01-01T00:00:00"}, "time zone"),
        ({"expires": "soon"}, "soon"),
        ({"expires": 5}, "TypeError"),
    ],
)
def test_an_entry_that_cannot_be_understood_makes_the_file_unusable(keys, override, said):
    keys.add("ranker", "read:ranker")
    told = json.loads(keys.path.read_text())
    told["keys"][0] |= override
    keys.path.write_text(json.dumps(told))

    with pytest.raises(KeysError, match=said):
        read_key_file(keys.path)


@pytest.mark.parametrize("field", ["id", "name", "sha256", "scopes", "created", "expires"])
def test_an_entry_without_one_of_its_fields_makes_the_file_unusable(keys, field):
    keys.add("ranker", "read:ranker")
    told = json.loads(keys.path.read_text())
    del told["keys"][0][field]
    keys.path.write_text(json.dumps(told))

    with pytest.raises(KeysError, match=field):
        read_key_file(keys.path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"keys": 1}', '{"keys": [1]}', '{"keys": {"a": 1}}', "\xff"])
def test_what_is_no_list_of_keys_is_no_file_of_keys(keys, text):
    keys.path.write_text(text, "latin-1")

    with pytest.raises(KeysError, match=r"keys\.json"):
        read_key_file(keys.path)


@pytest.mark.parametrize("what", ["id", "name"])
def test_two_keys_of_one_name_make_the_file_unusable(keys, what):
    keys.add("one", "read:*")
    keys.add("two", "read:*")
    told = json.loads(keys.path.read_text())
    told["keys"][1][what] = told["keys"][0][what]
    keys.path.write_text(json.dumps(told))

    with pytest.raises(KeysError, match=f"same {what}"):
        read_key_file(keys.path)


def test_those_who_change_the_file_at_once_lose_nothing(keys):
    names = [f"key{i}" for i in range(8)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: keys.add(name, "read:*"), names))

    assert sorted(key.name for key in read_key_file(keys.path)) == names
