"""Fingerprints of views: digests of what was declared, which no refactoring changes.

A description is as plain as JSON: texts, numbers, lists, and mappings whose order does not count. What is empty, or what it
is by default, is left out, so a new optional field changes no fingerprint.
`tests/tailrace/definitions/fingerprints.json` pins those of the shipped views and of every kind of aggregation.

A function counts with the syntax of its file and of the modules of its folder that the file imports. Imports are read from
the source: nothing is imported to find them, and those inside functions count as well.
"""

import ast
import hashlib
import inspect
import json
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailrace.definitions.own_folder import own_spec, parsed
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column, Type

if TYPE_CHECKING:
    from tailrace.definitions.aggregations.aggregation import Aggregation
    from tailrace.definitions.derived_source import DerivedSource, Lookup
    from tailrace.definitions.names import Entity
    from tailrace.definitions.view import FeatureView

DECLARATIONS = {
    "Entity",
    "EventSource",
    "TableSource",
    "DerivedSource",
    "Lookup",
}  # of these only what a view takes counts, which is in its own
PACKAGES = ("tailrace", "features")  # where definitions import their words from; `features` until the next version
FORMAT = 1  # of descriptions; after another number every view is computed in full once
PRODUCT = f"{__package__}."
Plain = Any  # None, a truth value, a number or a text, or a list or mapping of these


def schema_fingerprint(features: tuple[Column, ...]) -> str:
    """16 hex digits of names, order and types; packed values have it in their header."""
    return digest("\n".join(f"{feature.name} {feature.type}" for feature in features))


def definition_fingerprint(view: "FeatureView") -> str:
    """16 hex digits that change when gold would have other rows for the same inputs."""
    return digest(json.dumps(description(view), sort_keys=True, separators=(",", ":")))


def derivation_fingerprint(source: "DerivedSource") -> str:
    """16 hex digits that change when a derived source would have other rows for the same parents."""
    here = f"source {source.name!r}, field"
    parts = {
        "format": FORMAT,
        "of": [source.of.silver_table.full_name, list(source.parent_ids)],
        "ids": list(source.own_ids),
        "columns": [[column.name, str(column.type), column.nullable] for column in source.returned],
        "lookups": plain([description_of_lookup(one) for one in source.lookups], of=f"{here} 'lookups'"),
        "transform": plain(source.transform, of=f"{here} 'transform'"),
    }
    return digest(json.dumps(parts, sort_keys=True, separators=(",", ":")))


def description_of_lookup(one: "Lookup") -> list[Plain]:
    """What a look-up gives to which rows, and when."""
    key = list(one.table.key_columns)
    return [one.table.silver_table.full_name, key, list(one.named_in), list(one.fields), one.follow]


def digest(text: str) -> str:
    """16 hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_base_views(own: str, base: Sequence[str]) -> str:
    """The fingerprint of a definition together with those of the base views that it counts."""
    return digest(" ".join([own, *base]))


def description(view: "FeatureView") -> dict[str, Plain]:
    """What decides the rows of a view's gold: its keys, its features and how they are computed."""
    parts = {
        "keys": [description_of_key(entity) for entity in view.entities],
        "features": [[feature.name, str(feature.type)] for feature in view.features],
        "aggregations": [description_of_line(line, view) for line in view.aggregations],
        "source": description_of_source(view),
        "where": view.where,
        "transform": plain(view.transform, of=f"view {view.name!r}, field 'transform'"),
    }
    return {"format": FORMAT} | {name: part for name, part in parts.items() if part}


def description_of_key(entity: "Entity") -> Plain:
    """What an entity's ids are called, with their type and column where these are not the usual ones."""
    usual = entity.type is Type.STRING and entity.column == entity.key
    return entity.key if usual else [entity.key, str(entity.type), entity.column]


def description_of_source(view: "FeatureView") -> Plain:
    """The table of a view's events, and what its columns mean; None for a view without, or a source that is not named."""
    if not view.aggregations or view.event_source.unnamed:
        return None
    source = view.event_source
    words = (list(source.key_columns), source.words.time, source.type, source.attributes)
    return [source.silver_table.full_name, *words]


def description_of_line(line: "Aggregation", view: "FeatureView") -> list[Plain]:
    """The kind of an aggregation and its options; for a project's own also its SQL, which may change in a refactoring."""
    here = f"feature {line.name!r}"
    kind_and_options: list[Plain] = plain(line, of=here)
    if is_own(line):
        kind_and_options.append(plain(line.columns_over(view.event_source.words), of=here))
    return kind_and_options


def is_own(line: "Aggregation") -> bool:
    """Whether an aggregation is a project's own."""
    return not type(line).__module__.startswith(PRODUCT)


def plain(value: object, *, of: str) -> Plain:
    """A declared value as JSON has it; raises `DefinitionError` for one that has no such form."""
    if isinstance(value, list | tuple):
        return [plain(one, of=of) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(one, of=of) for one in value), key=json.dumps)
    if isinstance(value, Mapping):
        return {str(name): plain(one, of=of) for name, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        options = {field.name: getattr(value, field.name) for field in fields(value) if not is_default(field, value)}
        return [type(value).__name__, {name: plain(one, of=f"{of}, field {name!r}") for name, one in options.items()}]
    return plain_scalar(value, of=of)


def plain_scalar(value: object, *, of: str) -> Plain:
    """The same of a value that holds no others."""
    if isinstance(value, str):
        return str.__str__(value)  # without what an enumeration would add
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal | date):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if inspect.isfunction(value):
        return description_of_function(value)
    raise DefinitionError(
        f"{of}: a {type(value).__name__} has no form that is the same in every process; give texts, numbers, times, "
        "collections of these, functions or dataclasses"
    )


def is_default(field: "Field[Any]", value: object) -> bool:
    """Whether a field has the value that it has where none is given."""
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return default is not MISSING and bool(getattr(value, field.name) == default)


def description_of_function(function: Callable[..., Any]) -> list[str]:
    """The name of a function, and the syntax of its file and of the modules of its folder that the file imports."""
    file = inspect.getsourcefile(function)
    described = [function.__qualname__, source_of(Path(file)).decode() if file else ""]
    given = {"nonlocals": inspect.getclosurevars(function).nonlocals, "defaults": function.__defaults__}
    given |= {"keywords": getattr(function, "__kwdefaults__", None)}
    if any(given.values()):  # a function that is made by another, or has values of its own
        described.append(json.dumps(given, sort_keys=True, default=plain_or_kind))
    return described


def plain_or_kind(value: object) -> Plain:
    """A value as JSON has it; of one that has no such form only what it is."""
    try:
        return plain(value, of="a function's value")
    except DefinitionError:
        return type(value).__qualname__


def former_definition_fingerprint(view: "FeatureView") -> str:
    """The fingerprint that 0.1 gave this definition: homes that have it go on without a full computation.

    Kept for one minor version.
    """
    declared = repr((view.keys, view.features, view.aggregations))
    own = [line.columns_over(view.event_source.words) for line in view.aggregations if is_own(line)]
    declared += repr(own) if own else ""
    conditions = [line.where for line in view.aggregations]
    declared += repr(conditions) if any(conditions) else ""
    file = inspect.getsourcefile(view.transform) if view.transform else None
    return digest(declared + (source_of(Path(file)).decode() if file else ""))


def source_of(file: Path) -> bytes:
    """What decides how a function of a file computes: its syntax, and that of the modules of its own that it imports.

    Comments and layout do not count, nor does where the words of definitions are imported from.
    """
    folder = file.resolve().parent
    modules = (f"\n{module.relative_to(folder)}\n{computing_syntax(module)}" for module in own_modules(file))
    return (computing_syntax(file) + "".join(modules)).encode()


def computing_syntax(file: Path) -> str:
    """The syntax of a file without its imports of the product."""
    tree = tree_of(file)
    tree.body = [line for line in tree.body if not is_of_product(line)]
    return syntax_of(tree)


def is_of_product(line: ast.stmt) -> bool:
    """Whether a line imports from the product only."""
    if isinstance(line, ast.Import):
        return all(alias.name.partition(".")[0] in PACKAGES for alias in line.names)
    return isinstance(line, ast.ImportFrom) and not line.level and (line.module or "").partition(".")[0] in PACKAGES


def own_modules(file: Path) -> list[Path]:
    """The modules in a file's folder, and in folders within it, that the file imports, and what these import, sorted.

    A module that only gives entities and sources does not count, as what a view takes of them is in its fingerprint; nor does one that
    says nothing, or that is installed rather than written there.
    """
    file = file.resolve()
    found: set[Path] = set()
    left = [file]
    while left:
        imported = {module for module in imports_of(left.pop(), file.parent) if is_written_in(module, file.parent)}
        left += imported - found
        found |= imported
    return sorted(module for module in found - {file} if says_something(tree_of(module)))


def is_written_in(module: Path, folder: Path) -> bool:
    """Whether a module is written in the folder, and not installed there."""
    if module.suffix != ".py" or not module.is_relative_to(folder):
        return False
    installed = (Path(path).resolve() for path in sysconfig.get_paths().values())
    return not any(path.is_relative_to(folder) and module.is_relative_to(path) for path in installed)


def imports_of(file: Path, folder: Path) -> Iterator[Path]:
    """The files that run when the imports of a file do, wherever they are."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from files_along(alias.name, None, folder)[0]
        elif isinstance(node, ast.ImportFrom):
            yield from imported_from(node, file, folder)


def imported_from(node: ast.ImportFrom, file: Path, folder: Path) -> Iterator[Path]:
    """The files that run for `from … import …`: packages on the way, the module, and names that are modules in it.

    A module of the folder of which only entities and sources are imported is left out.
    """
    files, folders = files_along(node.module or "", [str(file.parents[node.level - 1])] if node.level else None, folder)
    names = []
    for alias in node.names:
        submodule, _ = files_along(alias.name, folders, folder)
        yield from submodule
        names += [] if submodule else [alias.name]
    if files and names and is_written_in(files[-1], folder) and set(names) <= declared_in(files[-1]):
        del files[-1]
    yield from files


def files_along(name: str, folders: list[str] | None, own: Path) -> tuple[list[Path], list[str]]:
    """The files of each package and of the module in a dotted name, and where to look for modules in the last.

    Looked for in `folders`; where there are none given, in the folder `own` and then in Python's path.
    """
    files: list[Path] = []
    for part in filter(None, name.split(".")):
        spec = (folders is None and own_spec(part, own)) or PathFinder.find_spec(part, folders)
        if spec is None:
            return files, []
        if spec.has_location and spec.origin:
            files.append(Path(spec.origin).resolve())
        folders = list(spec.submodule_search_locations or ())
    return files, folders or []


def declared_in(module: Path) -> set[str]:
    """The names that a module gives to entities and sources."""
    return {
        target.id
        for line in tree_of(module).body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call)
        if isinstance(line.value.func, ast.Name) and line.value.func.id in DECLARATIONS
        for target in line.targets
        if isinstance(target, ast.Name)
    }


def says_something(tree: ast.Module) -> bool:
    """Whether there is more than a docstring."""
    return any(not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)) for line in tree.body)


def tree_of(file: Path) -> ast.Module:
    """The syntax tree of a file; raises `DefinitionError` for one that cannot be read."""
    try:
        return parsed(file)
    except (OSError, SyntaxError, ValueError) as error:
        raise DefinitionError(f"{file}: {type(error).__name__}: {error}") from error


def syntax_of(node: object) -> str:
    """A syntax tree as text: no comments, no layout, and the same in each version of Python, which differ in what is empty."""
    if isinstance(node, ast.AST):
        fields = (f"{name}={syntax_of(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(syntax_of, node))}]"
    return repr(node)
