"""Everything running as `make up` starts it: the scheduler, a person at the browser, tasks that are killed.

The tests go through the life of one Airflow, in their order.
"""

import os
import random
import re
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from tailrace.local.airflow import ENDED
from tailrace.schemas.slots import GRID, last_tick, to_text
from tailrace.settings import CHECKOUT, read_settings
from tests.dags import warm_submit
from tests.dags.browser import at_the_browser
from tests.dags.landed import TWO_VIEWS, event, land
from tests.dags.running import TAILRACE, Running, application, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

PICTURES = CHECKOUT / "var" / "pictures"
MINUTES = 1
REFRESH = 800  # seconds that a refresh may take on a busy machine

# What is killed of a stage: the application, or the task alone, whose application goes on beside the retry. Those that are
# killed are real spark-submits; all others run in one warm driver.
KILLS = {"run-silver": ("silver.merge", "application"), "run-publish": ("publish", "task")}

HOOK = """
def tell(text):
    with open({path!r}, "a") as file:
        file.write(text + "\\n")
"""


def recent(number, **changed):
    return event(number, occurred_at=(datetime.now(UTC) - timedelta(hours=1)).isoformat(), **changed)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("running")
    (home / "hooks").mkdir()
    (home / "hooks" / "told.py").write_text(HOOK.format(path=str(home / "alerts")))
    here = Running(
        home,
        airflow_port=free_port(),
        reader_port=free_port(),
        PYTHONPATH=os.pathsep.join(filter(None, (str(home / "hooks"), os.environ.get("PYTHONPATH")))),
        PATH=os.pathsep.join((str(warm_submit.BINARY.parent), os.environ["PATH"])),
        AIRFLOW_CONN_SPARK_DEFAULT=warm_submit.connection("local[*]"),
        TAILRACE_ALERTS="told:tell",
        TAILRACE_DEADLINE_MINUTES="0.2",
        TAILRACE_FEATURES=str(TWO_VIEWS),
        TAILRACE_REFRESH_MINUTES=str(MINUTES),
        TAILRACE_SHUFFLE_PARTITIONS="2",
        # The folder stays as it is; by default each file is loaded anew, in a process of its own, every 30 seconds.
        AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="3600",
        AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="0.5",
        # Spark plans and generates code as in production here, unlike in other tests (tests/conftest.py).
        TAILRACE_SPARK_JAVA_OPTIONS="-XX:TieredStopAtLevel=1",
        TAILRACE_SPARK_MEMORY="1g",
    )
    land(home, "first.jsonl", *(recent(n, actor_id=f"u{n % 5}", document_id=f"d{n % 9}") for n in range(40)))
    try:
        here.up()
        yield here
    finally:
        subprocess.run([TAILRACE, "down"], env=here.environment, check=True)
        warm_submit.stop(home)


@pytest.fixture(scope="module")
def person(running):
    with at_the_browser(running.url, PICTURES) as at_the_page:
        at_the_page.log_in(running.password)
        yield at_the_page


def test_up_tells_addresses_and_login_and_goes_on_without_its_terminal(running):
    assert running.url in running.shown
    assert running.password in running.shown
    found = running.tailrace("status")["services"]
    assert {name: one["state"] for name, one in found.items()} == dict.fromkeys(
        ("store", "reader", "api-server", "dag-processor", "triggerer", "scheduler"), "healthy"
    )
    before = {name: one["pid"] for name, one in found.items()}
    running.up()
    assert {name: one["pid"] for name, one in running.tailrace("status")["services"].items()} == before


def test_the_scheduler_runs_two_slots_in_a_row_unattended(running):
    running.airflow.wait_until_known("feature_refresh", seconds=REFRESH)
    until(lambda: len(running.airflow.runs("feature_refresh", "scheduled")) >= 2, seconds=2 * REFRESH)
    # While the second goes on: a third is started on a busy machine alone.
    start_anew(running, "dag-processor", TAILRACE_REFRESH_MINUTES="60")
    until(lambda: running.airflow.ask("GET", "feature_refresh")["timetable_summary"].startswith("*/60 "), seconds=60)
    first, second = until(lambda: all_ended(running), seconds=2 * REFRESH)[:2]

    assert (first["state"], second["state"]) == ("success", "success")
    slots = [datetime.fromisoformat(run["data_interval_end"]) for run in (first, second)]
    # The next slot, or where a run took longer than that, the last of those that were missed.
    assert slots[1] > slots[0]
    assert all(slot.minute % MINUTES == 0 and slot.second == 0 for slot in slots)
    began = datetime.fromisoformat(second["start_date"])
    assert slots[1] <= began
    # Nothing landed since the first: silver is left out, the watermarks move all the same.
    states = {
        name: task["state"] for name, task in running.airflow.tasks("feature_refresh", second["dag_run_id"]).items()
    }
    assert {name for name, state in states.items() if state == "skipped"} == {"silver.merge", "silver.quality_gate"}
    assert states["publish"] == "success"
    assert "feature_refresh is late: a run was not done after 0.2 minutes" in (running.home / "alerts").read_text()


def test_a_person_sees_a_bad_file_turn_its_gate_red_and_the_refresh_turn_green_without_it_whatever_is_killed(
    running, person
):
    """From here on, each view is computed and pushed by an application of its own."""
    start_anew(running, "dag-processor", "scheduler", TAILRACE_APPLICATION_PER="view")
    until(lambda: "gold.views_apart" in task_ids(running), seconds=60)
    land(running.home, "bad.jsonl", *(event(n, occurred_at="1970-01-01T00:00:00Z") for n in range(1000, 1200)))
    land(running.home, "second.jsonl", *(recent(n, document_id=f"d{n}") for n in range(100, 140)))

    person.open_dag("feature_refresh")
    run = person.trigger(full=True, picture="form-full")
    assert watch(running, person, run, picture="red-run") == "failed"
    person.read_log(
        "feature_refresh", run, "bronze.quality_gate", words="They came from events/bad.jsonl", picture="red-log"
    )
    assert running.airflow.tasks("feature_refresh", run)["bronze.quality_gate"]["try_number"] == 1
    assert "feature_refresh.bronze.quality_gate failed" in (running.home / "alerts").read_text()

    person.open_dag("feature_refresh")
    for name in KILLS:
        warm_submit.next_is_real(running.home, f"tailrace-{name}")
    form = {"set_aside": "events/bad.jsonl", "because": "its clock was lost", "allow": "forty new documents"}
    run = person.trigger(**form, picture="form-set-aside")
    person.look_away()
    kill_stages(running.home, run)
    assert watch(running, person, run, picture="green-after-kills") == "success"
    person.read_log("feature_refresh", run, "publish/mapped/0", words=re.compile("by_[a-z]+: "), picture="log")

    told = {one["dag_run_id"]: one["conf"] for one in running.airflow.runs("feature_refresh", "manual")}
    assert {name: told[run][name] for name in form} == form | {"set_aside": ["events/bad.jsonl"]}
    assert [conf["full"] for name, conf in told.items() if name != run] == [True]
    tasks = running.tasks("feature_refresh", run)
    for task, _ in KILLS.values():
        assert max(one["try_number"] for one in tasks if one["task_id"] == task) >= 2, task
    views_apart = [one["task_id"] for one in tasks if one["map_index"] >= 0]
    assert sorted(views_apart) == ["gold.refresh"] * 2 + ["publish"] * 2
    assert running.in_warm_driver("verify")["differing"] == 0


def test_what_is_done_beside_refreshes_is_done_by_dags_as_well(running):
    to = last_tick(datetime.now(UTC))
    forms = {
        "feature_backfill": {"from": to_text(to - GRID), "to": to_text(to)},
        "feature_reconcile": {},
        "feature_maintenance": {},
    }
    runs = {dag: running.airflow.trigger(dag, form) for dag, form in forms.items()}
    ended = {dag: running.airflow.wait(dag, run, seconds=REFRESH)["state"] for dag, run in runs.items()}
    assert ended == dict.fromkeys(forms, "success")

    logs = {dag: running.log(dag, run) for dag, run in runs.items()}
    assert re.search(r"by_document: 2 times computed; \d+ rows recorded, of which 0 removals", logs["feature_backfill"])
    (compared,) = re.findall(
        r"(\d+) rows compared: 0 missing, 0 ghost, 0 different, 0 repaired", logs["feature_reconcile"]
    )
    assert int(compared) > 40
    assert re.search(r"silver\.interactions: \d+ data files", logs["feature_maintenance"])


def watch(running, person, run, *, picture):
    person.look_away()
    running.airflow.wait("feature_refresh", run, seconds=2 * REFRESH)
    return person.see_how_it_ended("feature_refresh", run, picture=picture)


def task_ids(running):
    return {task["task_id"] for task in running.airflow.ask("GET", "feature_refresh/tasks")["tasks"]}


def all_ended(running):
    """The scheduled runs, once none is under way."""
    runs = running.airflow.runs("feature_refresh", "scheduled")
    return runs if all(run["state"] in ENDED for run in runs) else None


def start_anew(running, *names, **variables):
    """End services of Airflow, and start them with these settings."""
    running.environment.update(variables)
    found = running.tailrace("status")["services"]
    ended = [psutil.Process(found[name]["pid"]) for name in names]
    for process in ended:
        process.terminate()
    psutil.wait_procs(ended, timeout=60)
    running.up()


def kill_stages(home, run):
    chance = random.Random(6)
    for name, (_, what) in KILLS.items():
        jvm = until(lambda name=name: application(name, home, run), seconds=REFRESH)
        archive = read_settings().spark.class_archive
        if archive.exists():
            assert str(archive.resolve()) in {mapped.path for mapped in jvm.memory_maps()}
        task = jvm.parent()
        time.sleep(chance.uniform(2, 6))
        assert jvm.is_running(), f"{name} was quicker than its killer"
        (task if what == "task" else jvm).kill()


def test_down_leaves_no_process(running):
    warm_submit.stop(running.home)
    until(
        lambda: not [one for one in processes_of(running.home) if str(warm_submit.DRIVER) in one.cmdline()], seconds=60
    )
    running.tailrace("down")

    assert {one["state"] for one in running.tailrace("status")["services"].values()} == {"stopped"}
    assert list(processes_of(running.home)) == []


def processes_of(home):
    for process in psutil.process_iter():
        try:
            if process.environ().get("TAILRACE_HOME") == str(home):
                yield process
        except psutil.Error:
            continue
