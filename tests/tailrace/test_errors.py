"""The error tree: every error of the product is in it, says what may be done about it, and is in the drawing."""

import ast
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tailrace import errors
from tailrace.errors import TailraceError
from tailrace.events.files import HistoryError

ROOT = Path(errors.__file__).parents[1]
PACKAGES = ("tailrace", "jobs", "sinks", "serving", "bench")
# Modules that need Airflow, whose classes are read as text; and one that blocks the signals of the process it is imported in.
UNREAD = ("tailrace.dags.", "serving.process.imports")
ATTRIBUTES = {"retryable": bool, "exit_code": int, "http_status": int}


@pytest.fixture(scope="module")
def tree():
    """Every class of the tree, the root first, once all modules of the product are imported."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not module.name.startswith(UNREAD):
                import_module(module.name)
    return [TailraceError, *below(TailraceError)]


def below(root: type[TailraceError]) -> Iterator[type[TailraceError]]:
    for one in children(root):
        yield one
        yield from below(one)


def children(root: type[TailraceError]) -> list[type[TailraceError]]:
    """The product's classes under another; tests may make some of their own."""
    return sorted((one for one in root.__subclasses__() if not one.__module__.startswith("tests")), key=name_of)


def name_of(one: type[TailraceError]) -> str:
    return one.__name__


def drawn(root: type[TailraceError], indent: str = "") -> Iterator[str]:
    """The lines of a drawing: the families in their order, under each its classes by name, with what each says itself."""
    under = children(root)
    if root is TailraceError:
        yield line_of(root)
        under.sort(key=lambda family: inspect.getsourcelines(family)[1])
    for one in under:
        last = one is under[-1]
        yield f"{indent}{'└── ' if last else '├── '}{line_of(one)}"
        yield from drawn(one, indent + ("    " if last else "│   "))


def line_of(one: type[TailraceError]) -> str:
    own = {name: vars(one)[name] for name in ATTRIBUTES if name in vars(one)}
    said = ", ".join(
        f"{name} {'yes' if value is True else 'no' if value is False else value}" for name, value in own.items()
    )
    return f"{one.__name__}: {said}" if said else one.__name__


def test_the_drawing_is_the_tree(tree):
    docstring = inspect.getdoc(errors) or ""

    assert "\n".join(drawn(tree[0])) in docstring


def test_every_error_says_what_may_be_done_about_it_under_a_name_of_its_own(tree):
    names = [one.__name__ for one in tree]

    assert [name for name in names if names.count(name) > 1] == []
    assert [
        (one.__name__, name)
        for one in tree
        for name, kind in ATTRIBUTES.items()
        if type(getattr(one, name)) is not kind
    ] == []
    assert [one.__name__ for one in tree if not one.__doc__] == []
    assert {family.__module__ for family in children(TailraceError)} == {errors.__name__}


def test_every_error_class_of_the_product_is_in_the_tree(tree):
    modules = [module for name, module in list(sys.modules.items()) if name.split(".")[0] in PACKAGES]
    found = {one for module in modules for one in vars(module).values() if is_error_of(one, module.__name__)}

    assert len(found) > 60
    assert sorted(one.__name__ for one in found - set(tree)) == []


def is_error_of(one: object, module: str) -> bool:
    return isinstance(one, type) and issubclass(one, BaseException) and one.__module__ == module


def test_the_dags_and_the_example_definitions_make_no_errors_of_their_own():
    classes = [
        (path.name, ast.unparse(base))
        for folder in ("dags", "features", "tailrace/dags")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    ]

    assert [(file, base) for file, base in classes if base.endswith(("Error", "Exception"))] == []


def test_a_command_that_fails_loads_no_more_of_the_product_to_show_why(tmp_path):
    code = "import sys; from tailrace.cli import main\ntry: main()\nfinally: print(*sorted(sys.modules))"
    command = [
        sys.executable,
        "-c",
        code,
        "events",
        "from-git",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, len(done.stderr.splitlines())) == (HistoryError.exit_code, 1)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert loaded & {"aiohttp", "delta", "jobs", "pyspark", "serving", "sinks"} == set()
