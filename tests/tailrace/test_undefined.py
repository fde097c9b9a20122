"""Views that were renamed or removed: they are found, and dropped whole, whatever is killed in between."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.streaming.checkpoint import checkpoint_of, remember_views
from sinks import rebuild
from sinks.history import Schema, ensure_recorded
from sinks.purge import look_over
from sinks.rebuild import drop_values
from tailrace.cli import app as cli
from tailrace.definitions import BATCH, DIRECT, STREAM
from tailrace.errors import CommandError
from tailrace.lake import session, storage
from tailrace.schemas import view_tables
from tailrace.schemas.tables import Column, Type
from tailrace.settings import read_settings
from tailrace.store import embedded, lease
from tailrace.store.control import NO_LANE, Control, Cursor, OtherLane
from tailrace.store.dynamodb.calls import KEY, control_key, scan, sequence_attribute, to_binary
from tailrace.store.dynamodb.conditional_writes import order_attribute, to_attribute
from tailrace.store.dynamodb.store import DynamoStore, ensure_table
from tailrace.store.keys import item_keys
from tailrace.store.lease import PushUnderWay
from tailrace.store.order import Order
from tailrace.workspace.undefined import drop_view, found_at_a_glance, found_in_everything
from tailrace.workspace.workspace import Workspace
from tests.conftest import SPARK
from tests.store_client import with_client

VIEW = "from tailrace.shipped.document_activity import document_activity\nfrom tailrace.shipped.actor_document_affinity import *\n"
DEFINED = "document_activity"
FEATURES = (Column("score", Type.FLOAT64, ""),)
DOCUMENTS = [f"d{number}" for number in range(40)]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two views that are defined; its lake is not looked at."""
    folder = tmp_path_factory.mktemp("undefined")
    (folder / "features").mkdir()
    (folder / "features" / "views.py").write_text(VIEW)
    variables = {"TAILRACE_HOME": str(folder / "home"), "TAILRACE_FEATURES": str(folder / "features")}
    home = Workspace(settings=read_settings(SPARK | variables))
    store(home, ensure_table)
    yield home
    embedded.stop(home.settings)


@pytest.fixture
def lake_home(home, spark, monkeypatch):
    """The same home with its lake."""
    monkeypatch.setitem(vars(home), "spark", spark)
    return home


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Nobody is waited for, but how often is noted."""
    noted = []

    async def note(address):
        noted.append(address)

    for module in (rebuild, rebuild):
        monkeypatch.setattr(module, "outlast_writers", note)
    return noted


def store(home, action):
    return with_client(home.store, action)


def fill(home, view, lane, *, is_open=False):
    """Values of a view, on items that have another view's values too, and the control item that a lane leaves."""

    async def run(client):
        if lane == DIRECT:
            sequence = (await DynamoStore(client).take_revisions(view, FEATURES, count=3)).sequence
        else:
            taken = await DynamoStore(client).take_lease(view, owner="tests", seconds=60, lane=lane) or Control()
            sequence = taken.sequence
            cursor = Cursor(table_id="t", version=3, fingerprint="f") if lane == BATCH else None
            if is_open:
                await DynamoStore(client).declare_push(view, sequence=sequence, owner="tests")
            else:
                await DynamoStore(client).close_push(
                    view, sequence=sequence, cursor=cursor, watermark=1, features=FEATURES
                )
        for key in item_keys({"document": "document_id"}, {"document_id": DOCUMENTS}):
            values = {view: to_binary(b"1"), sequence_attribute(view): {"N": str(sequence)}}
            values |= {order_attribute(view): to_attribute(Order(1, 2))} if lane == DIRECT else {}
            names = [*values, DEFINED]
            request = {
                "TableName": client.table,
                "Key": {KEY: {"S": key}},
                "UpdateExpression": "SET " + ", ".join(f"#n{i} = :v{i}" for i in range(len(names))),
                "ExpressionAttributeNames": {f"#n{i}": name for i, name in enumerate(names)},
                "ExpressionAttributeValues": {
                    f":v{i}": values.get(name, to_binary(b"other")) for i, name in enumerate(names)
                },
            }
            await client.call("UpdateItem", request)

    store(home, run)


def attributes_left(home, view):
    """How many attributes of a view there are on items, and of the one that is defined."""
    names = (view, sequence_attribute(view), order_attribute(view), DEFINED)

    async def read(client):
        return [item async for page in scan(client, names) for item in page]

    items = store(home, read)
    return sum(name in item for item in items for name in names[:3]), sum(DEFINED in item for item in items)


def control(home, view):
    return store(home, lambda client: DynamoStore(client).read_controls([view])).get(view)


def table_of(view):
    return view_tables.gold_table(
        view, keys=(Column("document_id", Type.STRING, "", nullable=False),), features=FEATURES
    )


def found(home, view):
    """What both ways of looking say of a view, which is the same."""
    known = look_over(home.store).views
    everything, glance = found_in_everything(home, known).get(view), found_at_a_glance(home).get(view)
    assert everything == glance
    return everything


def dropped(home, view, *, with_history=False):
    return drop_view(home, view, lambda _: None, with_history=with_history)


LANES = {BATCH: {"gold": True, "history": True}, STREAM: {"gold": False, "history": False}}
LANES |= {DIRECT: {"gold": False, "history": True}}


@pytest.mark.slow
@pytest.mark.parametrize(("lane", "tables"), LANES.items(), ids=LANES)
def test_a_view_of_any_lane_is_found_and_dropped_and_its_history_where_that_is_asked(lake_home, lane, tables):
    view = f"former_{lane}"
    fill(lake_home, view, lane)
    for table, wanted in ((table_of(view), tables["gold"]), (view_tables.history_table(view), tables["history"])):
        if wanted:
            lake_home.lake.create(table)
    if lane == STREAM:
        remember_views(checkpoint_of(lake_home.settings.home), {view: "f", DEFINED: "f"})
    if lane == BATCH:
        ensure_recorded(lake_home.lake, Schema(view=view, features=FEATURES, definition="d"), first_sequence=lambda: 1)

    assert found(lake_home, view) == tables | {"store": True, "lane": lane}
    first = dropped(lake_home, view)
    left = found(lake_home, view)
    second = dropped(lake_home, view, with_history=True)

    assert first == {
        "view": view,
        "lane": lane,
        "values": len(DOCUMENTS),
        "control_item": True,
        "gold": tables["gold"],
        "history": False,
        "kept": [f"history.{view}"] if tables["history"] else [],
    }
    kept = {"gold": False, "history": True, "store": False, "lane": None}
    assert left == (kept if tables["history"] else None)
    assert (second["values"], second["gold"], second["history"]) == (0, False, tables["history"])
    assert found(lake_home, view) is None
    assert attributes_left(lake_home, view) == (0, len(DOCUMENTS))
    if lane == BATCH:
        assert lake_home.lake.read(view_tables.SCHEMAS).where(f"view = '{view}'").count() == 1
        lake_home.lake.create(table_of(view))  # a view of that name may be defined again
        assert lake_home.lake.read(table_of(view)).count() == 0


class Killed(Exception):
    pass


async def some_values(original, client, view, keys, **options):
    """A part of a page."""
    await original(client, view, list(keys)[:7], **options)


KILLS = {
    "before it was taken from its lane": (DynamoStore, "give_to_lane", False),
    "once it was taken from its lane": (DynamoStore, "give_to_lane", True),
    "before a value was removed": (rebuild, "clear", False),
    "with some values removed": (rebuild, "remove_all", some_values),
    "before its control item was removed": (DynamoStore, "remove_control", False),
    "once its control item was removed": (DynamoStore, "remove_control", True),
    "within its gold": (storage, "delete", False),
}


@pytest.mark.parametrize("kill", KILLS)
def test_a_drop_that_was_killed_leaves_a_view_that_is_found_and_is_finished_by_another(lake_home, monkeypatch, kill):
    view = f"former_{list(KILLS).index(kill)}"
    fill(lake_home, view, BATCH)
    folder = Path(lake_home.settings.lake) / "gold" / view
    folder.mkdir(parents=True)
    (folder / "part.parquet").write_text("")
    module, name, done_before = KILLS[kill]
    original = getattr(module, name)

    async def killed(*arguments, **options):
        if callable(done_before):
            await done_before(original, *arguments, **options)
        elif done_before:
            await original(*arguments, **options)
        raise Killed

    def killed_at_once(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, name, killed_at_once if name == "delete" else killed)
        with pytest.raises(Killed):
            dropped(lake_home, view)

    assert found(lake_home, view) is not None
    again = dropped(lake_home, view)

    assert again["gold"]
    assert found(lake_home, view) is None
    assert (attributes_left(lake_home, view)[0], control(lake_home, view), folder.exists()) == (0, None, False)


def test_values_whose_control_item_was_lost_are_removed_too(home):
    fill(home, "former_lost", STREAM)
    key = {KEY: {"S": control_key("former_lost")}}
    store(home, lambda client: client.call("DeleteItem", {"TableName": client.table, "Key": key}))

    assert drop_values(home.store, "former_lost").values == len(DOCUMENTS)
    assert attributes_left(home, "former_lost")[0] == 0


def test_a_view_that_is_being_written_is_left_alone_and_one_that_may_still_be_is_waited_for(home, waits):
    fill(home, "former_busy", BATCH, is_open=True)
    with pytest.raises(PushUnderWay, match="former_busy"):
        drop_values(home.store, "former_busy")
    assert attributes_left(home, "former_busy")[0]

    lease.give_up(home.store, "former_busy", control(home, "former_busy").sequence)
    drop_values(home.store, "former_busy")
    waited = [*waits]
    fill(home, "former_quiet", BATCH)
    drop_values(home.store, "former_quiet")

    assert waited == waits == [home.store]


def test_while_it_is_dropped_no_lane_writes_it_and_a_definition_gets_it_back_by_a_rebuild(home):
    fill(home, "former_back", BATCH)
    before = control(home, "former_back")
    store(home, lambda client: DynamoStore(client).give_to_lane("former_back", NO_LANE, found=before))
    for lane in (BATCH, STREAM):
        with pytest.raises(OtherLane, match="tailrace rebuild former_back"):
            lease.take(home.store, "former_back", 0.1, lane=lane)
    with pytest.raises(OtherLane):
        store(home, lambda client: DynamoStore(client).take_revisions("former_back", FEATURES, count=1))

    handed = rebuild.hand_over(home.store, replace(home.definitions.view(DEFINED), name="former_back"))

    assert (handed.before, handed.removed) == (NO_LANE, len(DOCUMENTS))
    assert lease.take(home.store, "former_back", 0.1, lane=BATCH).sequence > before.sequence


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (DEFINED, "view document_activity is defined"),
        ("schemas", r"history\.schemas"),
        ("../silver", "not a valid name"),
        ("", "not a valid name"),
    ],
)
def test_what_is_defined_and_what_is_no_view_cannot_be_dropped(home, view, said):
    with pytest.raises(CommandError, match=said):
        dropped(home, view, with_history=True)


@pytest.mark.parametrize("lake", ["s3a://bucket/lake", "hdfs://host/lake"])
def test_a_lake_elsewhere_is_not_looked_at_by_a_glance(home, monkeypatch, lake):
    monkeypatch.setitem(vars(home), "settings", replace(home.settings, lake=lake))

    assert found_at_a_glance(home).keys() <= {f"former_{STREAM}"}


def test_a_store_that_does_not_run_is_not_started_to_list_what_is_defined(make_settings):
    settings = make_settings("cold")
    (Path(settings.lake) / "gold" / "former").mkdir(parents=True)

    found = found_at_a_glance(Workspace(settings=settings))

    assert found == {"former": {"gold": True, "history": False, "store": None, "lane": None}}
    assert embedded.status(settings) is None


def test_people_and_programs_are_told_what_is_left_and_what_was_removed(lake_home, monkeypatch, spark):
    fill(lake_home, "former_shown", BATCH)
    monkeypatch.setattr(session, "open_session", lambda _: spark)
    for name, value in (("HOME", lake_home.settings.home), ("FEATURES", lake_home.settings.home.parent / "features")):
        monkeypatch.setenv(f"TAILRACE_{name}", str(value))
    (Path(lake_home.settings.lake) / "history" / "former_shown").mkdir(parents=True)

    def run(*arguments):
        done = CliRunner().invoke(cli.app, ["features", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    listed = run("list")
    first = json.loads(run("drop", "former_shown", "--json").splitlines()[-1])
    kept = run("list")
    second = run("drop", "former_shown", "--history")

    assert "`tailrace features drop former_shown`" in " ".join(listed.split())
    assert (first["values"], first["lane"]) == (len(DOCUMENTS), BATCH)
    assert "`tailrace features drop former_shown --history`" in " ".join(kept.split())
    assert "history.former_shown" in second
    assert "former_shown" not in run("list")
