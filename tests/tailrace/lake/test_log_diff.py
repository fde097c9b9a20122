"""The files that came and went between two versions, by commits as Delta's log has them."""

import json
import random
from collections import Counter

import pytest

from tailrace.lake.delta_log import HistoryLost
from tailrace.lake.log_diff import CHANGE_FEED, PHYSICAL_NAME, has_change_feed, signed_files


def schema(*columns):
    fields = ({"metadata": {}, "nullable": True, "type": "string"} | column for column in columns)
    return json.dumps({"type": "struct", "fields": list(fields)})


ID, TITLE = {"name": "id"}, {"name": "title"}
PLAIN = schema(ID, TITLE)


def file(path, *, vector=None, data_change=True):
    found = {"path": path, "partitionValues": {}, "size": 7, "dataChange": data_change}
    return found | ({"deletionVector": {"storageType": "u", "pathOrInlineDv": vector}} if vector else {})


def add(path, **options):
    return {"add": file(path, **options) | {"stats": "{}", "tags": None}}


def remove(path, **options):
    return {"remove": file(path, **options) | {"deletionTimestamp": 1, "extendedFileMetadata": True}}


def metadata(columns, feed="true"):
    return {"metaData": {"id": "t", "schemaString": columns, "configuration": {CHANGE_FEED: feed}}}


def found(*commits, columns=("id",), since=4):
    numbered = {since + 1 + number: list(actions) for number, actions in enumerate(commits)}
    files = signed_files(numbered, since=since, schema=PLAIN, columns=columns)
    return [(one.sign, one.path, one.version) for one in files]


WIDER = schema(ID, TITLE, {"name": "extra"})
DIFFS = {
    "files that were added and removed": ([[add("a")], [remove("b")]], [(1, "a", 4), (-1, "b", 4)]),
    "a file that came and went cancels": ([[add("a")], [remove("a")]], []),
    "a file that went and was restored cancels": ([[remove("a")], [add("a")]], []),
    "a compaction does not count, and what it made may go": (
        [[remove("a", data_change=False), add("c", data_change=False)], [remove("c"), add("d")]],
        [(-1, "c", 4), (1, "d", 4)],
    ),
    "another deletion vector is the file as it was, and as it is": (
        [[remove("a"), add("a", vector="v1")], [remove("a", vector="v1"), add("a", vector="v2")]],
        [(-1, "a", 4), (1, "a", 4)],
    ),
    "files are read by the columns of their version": (
        [[add("a")], [metadata(WIDER), remove("b"), add("c")], [remove("c"), add("d")]],
        [(1, "a", 4), (-1, "b", 4), (1, "d", 6)],
    ),
    "a file that came back under other columns does not cancel": (
        [[metadata(WIDER), remove("a")], [add("a")]],
        [(-1, "a", 4), (1, "a", 5)],
    ),
    "files are read by the protocol of their version": (
        [[{"protocol": {"readerFeatures": ["deletionVectors"]}}], [remove("a"), add("a", vector="v")]],
        [(-1, "a", 5), (1, "a", 5)],
    ),
    "other metadata is no other columns": ([[metadata(PLAIN), add("a")]], [(1, "a", 4)]),
    "other actions do not count": ([[{"commitInfo": {}}, {"txn": {}}, {"cdc": file("x")}]], []),
}


@pytest.mark.parametrize("case", DIFFS)
def test_files_that_came_and_went_are_found_by_commits(case):
    commits, expected = DIFFS[case]

    assert found(*commits) == expected


LOST = {
    "a column went": [[metadata(schema(TITLE)), add("a")]],
    "a column is another place in the files": [[metadata(schema({**ID, "metadata": {PHYSICAL_NAME: "col-7"}}))]],
    "what is nested changed": [[metadata(schema({**ID, "type": {"type": "struct", "fields": []}}))]],
    "no size": [[{"remove": {"path": "a", "dataChange": True, "partitionValues": {}}}]],
    "no partition": [[{"remove": {"path": "a", "dataChange": True, "size": 7}}]],
}


@pytest.mark.parametrize("case", LOST)
def test_what_files_cannot_say_is_a_lost_history(case):
    with pytest.raises(HistoryLost, match="version 5"):
        found(*LOST[case])


def test_columns_that_nobody_reads_may_change_and_one_that_is_read_may_become_wider():
    renamed = schema({**ID, "type": "long"}, {"name": "other"})

    assert found([metadata(renamed), add("a")], columns=("ID",)) == [(1, "a", 5)]


def test_the_change_feed_leads_on_where_it_stayed_on_and_columns_stayed():
    on, off = {CHANGE_FEED: "true"}, {CHANGE_FEED: "false"}

    def why_not(commits, configuration=on):
        return str(has_change_feed(commits, configuration=configuration, schema=PLAIN))

    assert why_not({5: [metadata(PLAIN)], 6: [add("a")]}) == "None"
    assert "no change feed" in why_not({}, off)
    assert "version 6" in why_not({5: [], 6: [metadata(PLAIN, "false")]})
    assert "version 5" in why_not({5: [metadata(WIDER)]})


class History:
    """A table whose files are sets of rows: what each version has, and the commits between."""

    def __init__(self, random_):
        self.random = random_
        self.rows = {}
        self.versions: list[list[tuple[str, str | None]]] = [[]]
        self.commits = {}
        for version in range(1, random_.randint(2, 9)):
            kind = random_.choice((self.append, self.overwrite, self.delete, self.optimize, self.restore))
            self.commit(version, kind(version, self.versions[-1]), counts=kind != self.optimize)

    def commit(self, version, after, *, counts):
        live = self.versions[-1]
        gone = [remove(path, vector=vector, data_change=counts) for path, vector in live if (path, vector) not in after]
        come = [add(path, vector=vector, data_change=counts) for path, vector in after if (path, vector) not in live]
        self.versions.append(after)
        self.commits[version] = gone + come

    def new_file(self, rows):
        place = (f"f{len(self.rows)}", None)
        self.rows[place] = frozenset(rows)
        return place

    def append(self, version, live):
        return [*live, self.new_file(f"{version}.{number}" for number in range(3))]

    def overwrite(self, version, _):
        return self.append(version, [])

    def optimize(self, _, live):
        return [self.new_file(frozenset[str]().union(*(self.rows[one] for one in live)))] if live else []

    def restore(self, *_):
        return self.random.choice(self.versions)

    def delete(self, version, live):
        return [self.marked(version, one) for one in live]

    def marked(self, version, place):
        """A file with a third of its rows marked as deleted."""
        kept = frozenset(row for row in sorted(self.rows[place]) if self.random.random() < 0.7)
        if kept == self.rows[place]:
            return place
        self.rows[place[0], f"{version}"] = kept
        return place[0], f"{version}"

    def count(self, version):
        return Counter(row for one in self.versions[version] for row in self.rows[one])


@pytest.mark.parametrize("seed", range(0, 300, 50))
def test_signed_files_lead_from_the_rows_of_one_version_to_those_of_another_whatever_happened(seed):
    for one_seed in range(seed, seed + 50):
        history = History(random.Random(one_seed))
        since = history.random.randrange(len(history.versions))
        later = {version: actions for version, actions in history.commits.items() if version > since}

        net = history.count(since)
        for one in signed_files(later, since=since, schema=PLAIN, columns=["id"]):
            vector = one.add.get("deletionVector", {}).get("pathOrInlineDv")
            net.update(dict.fromkeys(history.rows[one.path, vector], one.sign))

        assert {row: count for row, count in net.items() if count} == history.count(-1), one_seed
