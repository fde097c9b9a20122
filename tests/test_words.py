"""The words of code and documentation: the field's own, and each name for one thing."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.words import ALLOWED, CEILINGS, CHECKOUT, CODE, INSTEAD, too_frequent

# Names that stand for several things. Both lists may only shrink; `run` is what every job is called by.
SHARED_FILES = {
    "landing",
    "load",
    "maintenance",
    "refresh",
    "tables",
    "writer",
}
NAMED_FOR_OTHERS = {"cli", "features"}  # a command's file is named for it, a shipped definition's for what it passes on
SHARED_NAMES = {"run"}


def test_no_avoided_word_occurs_more_often_than_its_ceiling():
    assert not too_frequent()


def test_ceilings_stand_for_words_that_are_still_above_what_is_allowed():
    assert set(CEILINGS) <= set(INSTEAD)
    assert all(ceiling > ALLOWED for ceiling in CEILINGS.values())


def test_a_file_name_means_one_thing_but_for_those_that_are_listed():
    places = defaultdict(list)
    for path in files():
        if not path.stem.startswith("_") and path.parent.name not in NAMED_FOR_OTHERS:
            places[path.stem].append(path)

    assert {name for name, found in places.items() if len(found) > 1} == SHARED_FILES


def test_a_public_function_or_class_has_a_name_of_its_own_but_for_those_that_are_listed():
    trees = modules()
    used = {name for tree in trees.values() for name in names_from_elsewhere(tree, trees)}
    places = defaultdict(list)
    for module, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and (module, node.name) in used:
                places[node.name].append(module)

    assert {name for name, found in places.items() if len(found) > 1} == SHARED_NAMES


def files() -> list[Path]:
    """Every file of the product's code."""
    return [path for folder in CODE for path in sorted((CHECKOUT / folder).rglob("*.py"))]


@cache
def modules() -> dict[str, ast.Module]:
    """What every module of the product says, by its name."""
    trees = {path.relative_to(CHECKOUT).with_suffix("").parts: ast.parse(path.read_text("utf-8")) for path in files()}
    return {".".join(parts).removesuffix(".__init__"): tree for parts, tree in trees.items()}


def names_from_elsewhere(tree: ast.Module, known: Mapping[str, ast.Module]) -> Iterator[tuple[str, str]]:
    """The names of other modules that a module uses, by import or as an attribute of a module, which makes them public."""
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if f"{node.module}.{alias.name}" in known:
                    imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                else:
                    yield node.module, alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            yield imported[node.value.id], node.attr
