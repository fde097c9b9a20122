"""The wheel, as someone without this checkout has it: by extras, and beside a project of their own."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.followed import free_port
from tailrace.settings import CHECKOUT
from tests.wheel.environments import build_wheel, install, working_folder

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

BOUNDS_MB = {None: 40, "client": 60, "reader": 340}
ASKED = {"document_id": ["d1", "d9"]}
AS_OF = "2026-03-10T12:00:00Z"

VIEWS = '''"""The project's own definitions."""

from datetime import timedelta

from settings import OWNER
from tailrace import Count, Entity, FeatureService, FeatureView

document = Entity(name="document", key="document_id", description="A document.")
by_document = FeatureView(
    name="by_document",
    entities=(document,),
    owner=OWNER,
    description="How often a document was used.",
    freshness=timedelta(hours=1),
    aggregations=(Count(name="events", over=("total",)),),
)
own = FeatureService(name="own", features=("by_document",), owner=OWNER, description="What its ranker asks for.")
'''

# Writes under which names the product's modules were loaded, when a process of the environment ends.
PROBE = """
import atexit, json, os, sys
def note():
    loaded = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    with open(os.path.join(os.path.dirname(__file__), f"loaded-{os.getpid()}.json"), "w") as file:
        json.dump({name: path for name, path in loaded.items() if isinstance(path, str)}, file)
atexit.register(note)
"""


@pytest.fixture(scope="module")
def folder():
    made = working_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def wheel(folder):
    return build_wheel(folder)


@pytest.fixture(scope="module")
def environments(folder, wheel):
    """An environment by its extra, made when it is first asked for."""
    made = {}

    def of(extra):
        if extra not in made:
            made[extra] = install(wheel, extra, folder / f"env-{extra or 'base'}")
        return made[extra]

    return of


@pytest.fixture(scope="module")
def project(folder):
    """A project with names of its own that earlier versions of the product had at the top of Python's path."""
    made = folder / "project"
    for name in ("features", "dags", "store", "landing/events"):
        (made / name).mkdir(parents=True)
    made.joinpath("settings.py").write_text('OWNER = "ours"\n')
    made.joinpath("errors.py").write_text(
        'raise RuntimeError("a module of the project was taken for one of the product")\n'
    )
    made.joinpath("features", "views.py").write_text(VIEWS)
    events = [
        {"event_id": f"e{n}", "event_type": "view", "actor_id": "u1", "document_id": "d1"}
        | {"occurred_at": "2026-03-10T11:50:00Z"}
        for n in range(3)
    ]
    made.joinpath("landing/events/first.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return made


@pytest.fixture(scope="module")
def cache(folder, environments):
    """The cache of downloads as `tailrace setup` leaves it, which finds most of them there and fetches the others."""
    made = folder / "cache"
    version = environments("all").python("import importlib.metadata as m; print(m.version('tailrace'))", cwd=folder)
    tools = made / "tailrace" / version.strip()
    tools.mkdir(parents=True)
    shutil.copytree(CHECKOUT / ".tools" / "jars", tools / "jars")
    missing = min((tools / "jars").iterdir(), key=lambda jar: jar.stat().st_size)
    missing.unlink()
    environments("all").run("tailrace", "setup", "--json", cwd=folder, XDG_CACHE_HOME=str(made))
    assert missing.is_file()
    assert (tools / "dynoxide").is_file()
    return made


@pytest.fixture(scope="module")
def home(environments, project, cache):
    """The settings of a home of the project; its store ends with the tests."""
    settings = {
        "TAILRACE_HOME": str(project / "var"),
        "TAILRACE_LANDING": str(project / "landing"),
        "TAILRACE_FEATURES": "features",
        "TAILRACE_SPARK_MASTER": "local[2]",
        "TAILRACE_SPARK_MEMORY": "1g",
        "TAILRACE_READER_BUDGET_MS": "30000",
        "PYTHONPATH": str(project),
        "XDG_CACHE_HOME": str(cache),
    }
    yield settings
    environments("all").run("tailrace", "store", "stop", cwd=project, **settings)


def test_each_extra_is_as_small_as_promised(environments, capsys):
    sizes = {extra: environments(extra).megabytes for extra in (*BOUNDS_MB, "all")}

    with capsys.disabled():
        sys.stdout.write("\n" + ", ".join(f"{extra or 'base'} {size:.0f} MB" for extra, size in sizes.items()) + "\n")
    assert {extra: size for extra, size in sizes.items() if size > BOUNDS_MB.get(extra, size)} == {}


def test_the_wheel_holds_the_product_and_nothing_else(environments):
    packages = environments(None).packages

    for name in ("bench", "dags", "features", "setup", "tests", "docs"):
        assert not packages.joinpath(name).exists()
    assert packages.joinpath("tailrace/downloads/locks/jars.lock").is_file()


def test_the_base_reads_definitions_and_names_the_extra_that_a_command_misses(environments, project):
    base = environments(None)

    names = base.python(
        "import sys, tailrace; from tailrace.definitions import load_definitions; "
        "print(*load_definitions(['features']).views); "
        "assert not {'numpy', 'pyspark', 'aiohttp'} & set(sys.modules)",
        cwd=project,
        PYTHONPATH=str(project),
    )
    assert names.split() == ["by_document"]
    for command, named in ((["serve"], "tailrace[reader]"), (["refresh"], "tailrace["), (["setup"], "tailrace[spark]")):
        answer = base.run("tailrace", *command, "--json", cwd=project, code=1, PYTHONPATH=str(project))
        assert named in json.loads(answer.splitlines()[-1])["error"], command
    answer = base.run("tailrace", "bench", "refresh", "--json", cwd=project, code=1)
    assert "checkout" in json.loads(answer.splitlines()[-1])["error"]


def test_the_whole_package_refreshes_beside_a_project_of_its_own(environments, project, home):
    whole, settings = environments("all"), home

    report = json.loads(
        whole.run("tailrace", "refresh", "--as-of", AS_OF, "--json", cwd=project, **settings).splitlines()[-1]
    )
    assert report["views"]["by_document"]["changed"] == 1

    whole.run("tailrace", "airflow", "write-dags", "dags", cwd=project, **settings)
    loaded = whole.python(
        "import runpy, sys; found = runpy.run_path('dags/feature_refresh.py'); "
        "print('airflow' in sys.modules, 'pyspark' in sys.modules)",
        cwd=project,
        AIRFLOW_HOME=str(project / "airflow"),
        **settings,
    )
    assert loaded.splitlines()[-1] == "True False"


def test_spark_submit_loads_no_module_of_the_product_under_two_names(environments, project, cache, home, folder):
    whole, settings = environments("all"), home
    probe = folder / "probe"
    probe.mkdir()
    probe.joinpath("sitecustomize.py").write_text(PROBE)
    jars = ",".join(map(str, cache.glob("tailrace/*/jars/*.jar")))
    application = whole.packages / "tailrace/application/__main__.py"
    settings = settings | {"PYTHONPATH": f"{probe}:{project}"}

    words = ("--jars", jars, application, "run", "gold", "--as-of", AS_OF)
    whole.run("spark-submit", *words, cwd=project, PYSPARK_PYTHON=str(whole.folder / "bin/python"), **settings)

    driver = max((json.loads(path.read_text()) for path in probe.glob("loaded-*.json")), key=len)
    names = names_by_file(driver, whole.packages)
    assert len(names) > 50
    assert {path: found for path, found in names.items() if found != [dotted(path)]} == {}


def names_by_file(loaded, packages):
    """The names of each module of the product, by its file."""
    names: dict[str, list[str]] = {}
    for name, path in loaded.items():
        if Path(path).is_relative_to(packages) and name != "__main__":
            relative = str(Path(path).relative_to(packages))
            if relative.startswith(("tailrace/", "jobs/", "sinks/", "serving/")):
                names.setdefault(relative, []).append(name)
    return names


def dotted(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_an_example_outside_the_package_runs_as_its_readme_says(environments, folder, home):
    whole, example = environments("all"), folder / "clicks"
    shutil.copytree(CHECKOUT / "examples" / "clicks", example, ignore=shutil.ignore_patterns("var", "landing"))
    where = ("TAILRACE_HOME", "TAILRACE_LANDING", "TAILRACE_FEATURES", "PYTHONPATH")  # tailrace.toml says where
    settings = {name: text for name, text in home.items() if name not in where}
    whole.run("python", "sample_events.py", "--end", AS_OF, cwd=example)
    try:
        report = whole.run("tailrace", "refresh", "--as-of", AS_OF, "--json", cwd=example, **settings)
        shown = json.loads(report.splitlines()[-1])
        assert (shown["landed"]["searches"], shown["landed"]["products"]) == (2000, 40)
        assert all(view["pushed"] > 0 for view in shown["views"].values())
        (products,) = (example / "landing" / "products").iterdir()
        moved = [json.loads(line) | {"category": "sale"} for line in products.read_text().splitlines()]
        products.with_name("sale.jsonl").write_text("".join(json.dumps(row) + "\n" for row in moved))
        again = whole.run("tailrace", "refresh", "--as-of", AS_OF, "--json", cwd=example, **settings)
        changed = {name: view["changed"] for name, view in json.loads(again.splitlines()[-1])["views"].items()}
        assert changed.pop("word_category") > 0
        assert set(changed.values()) == {0}
        for words in (
            ("query_product", "red shoes", "1001"),
            ("product_clicks", "1001"),
            ("word_category", "shoes", "sale"),
        ):
            row = whole.run("tailrace", "get", *words, "--json", cwd=example, **settings)
            assert json.loads(row.splitlines()[-1])["found"], words
        found = whole.run("tailrace", "verify", "--json", cwd=example, **settings)
        assert json.loads(found.splitlines()[-1])["differing"] == 0
    finally:
        whole.run("tailrace", "store", "stop", cwd=example, **settings)


def test_a_client_alone_asks_a_reader_alone(environments, project, home):
    reader, settings = environments("reader"), home
    log, port = project / "reader.log", free_port()
    with log.open("w") as output:
        command = [str(reader.folder / "bin" / "tailrace"), "serve", "--local", "--port", str(port)]
        serving = subprocess.Popen(command, cwd=project, env=reader.variables(**settings), stdout=output, stderr=output)
    try:
        answer = ask(environments("client"), project, port)
    finally:
        serving.terminate()
        serving.wait(60)

    assert answer == [[3, None], ["PRESENT", "NOT_FOUND"]], log.read_text()


def ask(client, project, port):
    """The answer of the reader, which may take a while to listen."""
    text = (
        "import json, sys, tailrace, urllib3; from serving.client import Client\n"
        f"with Client('http://127.0.0.1:{port}') as client:\n"
        "    try:\n"
        f"        found = client.columns(['by_document:events_total'], entities={ASKED!r})\n"
        "    except urllib3.exceptions.HTTPError:\n"
        "        print('null')\n"
        "    else:\n"
        "        assert not {'numpy', 'pyarrow'} & set(sys.modules)\n"
        "        print(json.dumps([found.values(found.names[0]), found.statuses(found.names[0])]))\n"
    )
    for _ in range(40):
        answer = json.loads(client.python(text, cwd=project))
        if answer is not None:
            return answer
        time.sleep(0.5)
    return None
