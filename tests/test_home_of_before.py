"""A home that an earlier version made goes on: nothing changes in gold, nothing is pushed, and readers answer the same.

The archive was made by the last version before 0.1, when the code lay in eleven packages: 25 documents of a generated
workspace, refreshed to 11:45 and 12:00, four values written directly, and what its reader answered then.
"""

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tailrace.demo.ranking import ask, reader
from tailrace.lake.task_progress import say_nothing
from tailrace.workspace.reconciliation import reconcile_all
from tailrace.workspace.refresh import refresh
from tailrace.workspace.workspace import Workspace

ARCHIVE = Path(__file__).with_name("home_of_before.tar.gz")
AS_OF = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("patient_readers")
def test_a_home_of_before_goes_on_without_a_change(spark, make_settings):
    settings = make_settings("home")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(settings.home.parent, filter="data")
    before = json.loads((settings.home / "answer.json").read_text())
    home = Workspace(settings=settings)

    done = refresh(home, as_of=AS_OF)

    assert done.landed.files == 0
    assert {name: one.changed for name, one in done.refreshed.items()} == dict.fromkeys(done.refreshed, 0)
    assert {name: one.net for name, one in done.pushed.items()} == dict.fromkeys(done.refreshed, 0)
    # A transform counts with its syntax now, where it counted with its file.
    assert {one.why for one in done.refreshed.values()} == {None, "the definition changed"}
    assert [name for name, one in done.refreshed.items() if one.why] == ["document_profile"]
    compared = reconcile_all(home, say_nothing)
    assert [compared[name] for name in ("missing", "ghost", "different")] == [0, 0, 0]
    with reader(settings) as address:
        answer, _ = ask(address, before["query"], times=1)
    assert without_now(answer) == without_now(before["answer"])


def without_now(answer):
    """Names, values and statuses, without the features that count from the moment of asking."""
    names = answer["metadata"]["feature_names"]
    values = {name: (one["values"], one["statuses"]) for name, one in zip(names, answer["results"], strict=True)}
    assert sum(status == "PRESENT" for _, statuses in values.values() for status in statuses) > 100
    return {name: one for name, one in values.items() if "hours_since" not in name}
