"""Files of a folder import each other by their names, on Python's path or not."""

import sys

import pytest

from tailrace.definitions import DefinitionError, load_anew, load_definitions

FLIGHTS = "flights = EventSource(name='flights', id='id', time=Time('at'), fields=(Field('document_id', STRING),))"
OWNER = "from _team import OWNER\n"
TRANSFORM = {"transform": "lambda documents: None", "transform_features": "(Feature('size', INT64, 'its size'),)"}


@pytest.fixture(params=["beside the path", "on the path"])
def make(make_folder, monkeypatch, request):
    """Makes folders of definitions, whose modules are forgotten after the test."""
    before = {**sys.modules}

    def make(name, **files):
        folder = make_folder(name)
        for file, source in files.items():
            folder.write(f"{file}.py", source)
        if request.param == "on the path":
            monkeypatch.syspath_prepend(str(folder.path))
        return folder

    yield make
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


def add_view(folder, file, first, **fields):
    folder.write_view(file, name=repr(file.removesuffix(".py")), **fields)
    (folder.path / file).write_text(first + (folder.path / file).read_text())


@pytest.mark.parametrize("file", ["arrivals.py", "landings.py"])  # before and after the file that it imports
@pytest.mark.parametrize("line", ["from flights import flights", "import flights as f; flights = f.flights"])
def test_a_source_that_two_files_share_counts_once(make, file, line):
    folder = make("mine", flights=FLIGHTS)
    add_view(folder, file, f"{line}\n", source="flights", aggregations="(Count(name='n', over=('3h',)),)")
    finders = [*sys.meta_path]

    definitions = folder.load()

    assert [one.name for one in definitions.declared] == ["flights"]
    assert definitions.view(file.removesuffix(".py")).source is definitions.sources["flights"]
    assert sys.meta_path == finders
    assert ("flights" in sys.modules) == (str(folder.path) in sys.path)
    assert folder.load().sources["flights"] is definitions.sources["flights"]


@pytest.mark.parametrize("turn", [1, -1])
def test_two_folders_have_modules_of_one_name(make, turn):
    folders = [make(name, _team=f"OWNER = {name!r}", flights=f"NAME = {name!r}") for name in ("ada", "grace")]
    for folder in folders:
        name = folder.path.name
        first = f"{OWNER}import flights\n"
        add_view(folder, f"{name}.py", first, owner="OWNER", description="flights.NAME")

    definitions = load_definitions([str(folder.path) for folder in folders[::turn]])

    views = [definitions.view(name) for name in ("ada", "grace")]
    assert [(view.owner, view.description) for view in views] == [("ada", "ada"), ("grace", "grace")]


@pytest.mark.parametrize("module", ["_team", "flights", "sub/__init__", "sub/inner"])
def test_a_module_that_changed_is_run_again_and_counts_in_fingerprints(make, module):
    folder = make("mine", _team="OWNER = 'ada'", flights="OWNER = 'ada'")
    folder.path.joinpath("sub").mkdir()
    for name in ("__init__", "inner"):
        folder.path.joinpath(f"sub/{name}.py").write_text("OWNER = 'ada'")
    imported = module.replace("/__init__", "").replace("/", ".")
    add_view(folder, "visits.py", f"from {imported} import OWNER\n", owner="OWNER", aggregations="()", **TRANSFORM)
    before = folder.load()
    folder.path.joinpath(f"{module}.py").write_text("OWNER = 'barbara'")

    after = load_anew([str(folder.path)])

    assert [one.view("visits").owner for one in (before, after)] == ["ada", "barbara"]
    assert before.files != after.files
    fingerprints = [
        load_anew([str(folder.path)]).view("visits").definition_fingerprint
        for owner in ("ada", "barbara")
        if folder.path.joinpath(f"{module}.py").write_text(f"OWNER = {owner!r}")
    ]
    assert len({*fingerprints}) == 2


def test_what_cannot_be_loaded_anew_leaves_what_was_loaded(make):
    folder = make("mine", flights=FLIGHTS)
    add_view(folder, "more.py", "from flights import flights\n", source="flights", aggregations="(Last(name='last'),)")
    first = folder.load()
    folder.write("more.py", "from flights import planes")

    with pytest.raises(DefinitionError, match=r"more\.py: ImportError: .*planes"):
        load_anew([str(folder.path)])

    assert folder.load().view("more") is first.view("more")


@pytest.mark.parametrize("make", ["beside the path"], indirect=True)
@pytest.mark.parametrize("name", ["colorsys", "pytest", "tailrace"])
def test_what_python_or_an_installed_package_has_comes_first(make, monkeypatch, name):
    folder = make("mine", **{name: "OWN = True"})
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    add_view(folder, "visits.py", f"import {name}\n", owner=f"str(hasattr({name}, 'OWN'))")

    assert folder.load().view("visits").owner == "False"


@pytest.mark.parametrize("make", ["beside the path"], indirect=True)
@pytest.mark.parametrize("line", ["import _team", "from _team import OWNER", "from sub.inner import OWNER"])
def test_a_function_that_would_not_find_a_module_when_it_runs_is_refused(make, line):
    folder = make("mine", _team="OWNER = 'ada'")
    folder.path.joinpath("sub").mkdir()
    folder.path.joinpath("sub/inner.py").write_text("OWNER = 'ada'")
    add_view(folder, "visits.py", f"def later():\n    {line}\n    import json, pyspark\n")

    with pytest.raises(
        DefinitionError, match=r"visits\.py: line 2: the function 'later' imports '(_team|sub)'.*PYTHONPATH"
    ):
        folder.load()
