"""A module beside the definitions, which they import, is part of what they say."""

import ast
import gc
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tailrace.definitions import DefinitionError, fingerprints, load_anew, load_definitions
from tailrace.definitions.fingerprints import computing_syntax, own_modules, source_of, syntax_of

PACKAGE = "mine"
TRANSFORM = {
    "aggregations": "()",
    "transform": "sized",
    "transform_features": "(Feature('size', Type.INT64, 'its size'),)",
}


class Project:
    """A folder of definitions that is a package on Python's path, and on it itself."""

    def __init__(self, folder):
        self.folder, self.path = folder, folder.path

    def write(self, name, source):
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        return file

    def imports(self, line):
        self.folder.write_view("visits.py", **TRANSFORM)
        file = self.path / "visits.py"
        return self.write("visits.py", f"{line}\ndef sized(documents):\n    return documents\n{file.read_text()}")

    def fingerprints(self):
        loaded = load_anew([str(self.path)])
        return loaded.fingerprint(loaded.view("visits")), loaded.files


@pytest.fixture
def project(make_folder, monkeypatch):
    before = dict(sys.modules)
    folder = make_folder(PACKAGE)
    monkeypatch.syspath_prepend(str(folder.path.parent))
    monkeypatch.syspath_prepend(str(folder.path))
    yield Project(folder)
    own = {PACKAGE, *(file.stem for file in folder.path.iterdir())}
    for name in sys.modules.keys() - before.keys():
        if name.partition(".")[0] in own:
            del sys.modules[name]
    sys.modules.update(before)


IMPORTS = {
    "a module": "import _depth",
    "a name of it": "from _depth import DEPTH",
    "all of its names": "from _depth import *",
    "a module of the package": f"from {PACKAGE} import _depth",
    "by its dotted name": f"import {PACKAGE}._depth as depth",
    "only where it is called": "def later():\n    from _depth import DEPTH",
    "under a condition": "try:\n    import _depth\nexcept ImportError:\n    raise",
    "by another module": "import _between",
    "by a circle of modules": "import _circle",
    "by a module in a folder": "import sub.inner",
    "by a package": "from sub import inner",
    "relative to a package": "from sub.relative import DEPTH",
}


@pytest.mark.parametrize("line", IMPORTS.values(), ids=IMPORTS)
def test_a_module_that_the_file_of_a_transform_imports_counts_with_its_syntax(project, line):
    project.write("_between.py", "import _depth")
    project.write("_circle.py", "import _again")
    project.write("_again.py", "import _circle\nimport _depth")
    project.write("sub/inner.py", "from _depth import DEPTH")
    project.write("sub/relative.py", "from .inner import DEPTH")
    project.write("_depth.py", "DEPTH = 1")
    project.imports(line)
    before = project.fingerprints()
    project.write("_depth.py", "# once it was 2\nDEPTH    =   1\n")
    in_other_words = project.fingerprints()
    project.write("_depth.py", "DEPTH = 2  # from now on")
    changed = project.fingerprints()

    assert in_other_words[0] == before[0]
    assert changed[0] != before[0]
    assert len({before[1], in_other_words[1], changed[1]}) == 3


def test_the_same_folder_elsewhere_is_the_same_definition(project, make_folder, monkeypatch):
    for name in ("_depth.py", "_other.py"):
        project.write(name, "DEPTH = 1")
    file = project.imports("import _other, _depth")
    elsewhere = make_folder("of_another_machine").path
    shutil.copytree(project.path, elsewhere)
    here = source_of(file)
    monkeypatch.setattr(sys, "path", [str(elsewhere), *sys.path[2:]])

    assert source_of(elsewhere / "visits.py") == here != computing_syntax(file).encode()


ENTITIES = "from tailrace.definitions import Entity\nDOCUMENT = Entity('document', 'document_id', 'a document')\n"


@pytest.mark.parametrize(
    ("line", "module", "change"),
    [
        ("from entities import DOCUMENT as OURS", "entities.py", ENTITIES + "OTHER = Entity('o', 'o_id', 'else')"),
        ("import mine.sub", "sub/__init__.py", '"""Says something else, and nothing that counts."""'),
        ("import _depth", "_draft.py", "DEPTH = 2"),
        ("import json", "sub/json.py", "DEPTH = 2"),
    ],
)
def test_what_decides_nothing_does_not_count(project, line, module, change):
    for name, source in (("_depth.py", "DEPTH = 1"), ("sub/__init__.py", ""), ("entities.py", ENTITIES)):
        project.write(name, source)
    project.imports(line)
    before = project.fingerprints()[0]
    project.write(module, change)

    assert project.fingerprints()[0] == before


def test_what_is_installed_in_the_folder_does_not_count_nor_does_the_language(project, monkeypatch):
    installed = project.write("site/installed.py", "DEPTH = 1")
    monkeypatch.syspath_prepend(str(project.path / "site"))
    file = project.imports("import installed\nimport features.language")
    assert own_modules(file) == [installed]

    monkeypatch.setattr("sysconfig.get_paths", lambda: {"purelib": str(project.path / "site")})

    assert own_modules(file) == []
    assert source_of(file) == computing_syntax(file).encode()


def test_comments_layout_and_the_place_of_the_language_decide_nothing(project):
    file = project.imports("import json")
    before = source_of(file)
    source = file.read_text().replace("from tailrace.definitions import", "from features.language  import")
    file.write_text(f"# says nothing\n{source}")
    in_other_words = source_of(file)
    file.write_text(source.replace("import json", "import re"))

    assert in_other_words == before != source_of(file)


def test_definitions_that_are_loaded_anew_run_the_modules_that_changed(project):
    project.write("_words.py", "OWNER = 'ada'")
    project.write("sub/words.py", "from _words import OWNER")
    project.folder.write_view("visits.py", owner="words.OWNER")
    source = (project.path / "visits.py").read_text()
    project.write("visits.py", f"from {PACKAGE}.sub import words\n{source}")
    before = load_definitions([str(project.path)])
    project.write("_words.py", "OWNER = 'grace'")

    after = load_anew([str(project.path)])

    assert (before.view("visits").owner, after.view("visits").owner) == ("ada", "grace")
    assert before.files != after.files
    project.write("visits.py", f"from {PACKAGE}.sub import words\n1 / 0")
    with pytest.raises(DefinitionError, match="ZeroDivisionError"):
        load_anew([str(project.path)])
    assert sys.modules[f"{PACKAGE}.sub"].words is sys.modules[f"{PACKAGE}.sub.words"]


def test_a_module_that_cannot_be_read_is_named(project):
    project.write("_depth.py", "def broken(:")
    file = project.imports("def later():\n    import _depth")

    with pytest.raises(DefinitionError, match=r"_depth\.py: SyntaxError"):
        source_of(file)


def test_syntax_is_spelled_without_what_is_empty_as_versions_of_python_differ_in_that():
    [function] = ast.parse("def f(): # says nothing\n    return None").body

    assert syntax_of(function) == "FunctionDef(name='f', args=arguments(), body=[Return(value=Constant())])"


class SlowToGo:
    """Garbage that another thread runs in place of while it is collected."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        time.sleep(1e-4)


@pytest.fixture
def often_collected():
    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50, 1, 1)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*before)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often_collected")
def test_files_are_parsed_by_several_threads_at_once():
    """Views are refreshed side by side, and each asks for the syntax of its transform."""

    def parse(_):
        SlowToGo()
        return len(fingerprints.tree_of(Path(fingerprints.__file__)).body)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(parse, range(100)))) == 1
