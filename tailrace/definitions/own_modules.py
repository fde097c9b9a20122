"""The modules of a definitions folder that its files import: what they say decides what a transform computes.

Imports are read from the source: nothing is imported to find them, and those inside functions count as well.
"""

import ast
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from tailrace.errors import DefinitionError

ENTITY = "Entity"
PRODUCT = ("tailrace", "features")  # where definitions import their words from; `features` until the next version


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
        return all(alias.name.partition(".")[0] in PRODUCT for alias in line.names)
    return isinstance(line, ast.ImportFrom) and not line.level and (line.module or "").partition(".")[0] in PRODUCT


def own_modules(file: Path) -> list[Path]:
    """The modules in a file's folder, and in folders within it, that the file imports, and what these import, sorted.

    A module that only gives entities does not count, as a view's keys are in its fingerprint; nor does one that
    says nothing, or that is installed rather than written there.
    """
    file = file.resolve()
    found: set[Path] = set()
    left = [file]
    while left:
        imported = {module for module in imports_of(left.pop(), file.parent) if is_own(module, file.parent)}
        left += imported - found
        found |= imported
    return sorted(module for module in found - {file} if says_something(tree_of(module)))


def is_own(module: Path, folder: Path) -> bool:
    if module.suffix != ".py" or not module.is_relative_to(folder):
        return False
    installed = (Path(path).resolve() for path in sysconfig.get_paths().values())
    return not any(path.is_relative_to(folder) and module.is_relative_to(path) for path in installed)


def imports_of(file: Path, folder: Path) -> Iterator[Path]:
    """The files that run when the imports of a file do, wherever they are."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from files_along(alias.name, None)[0]
        elif isinstance(node, ast.ImportFrom):
            yield from imported_from(node, file, folder)


def imported_from(node: ast.ImportFrom, file: Path, folder: Path) -> Iterator[Path]:
    """The files that run for `from … import …`: packages on the way, the module, and names that are modules in it.

    A module of the folder of which only entities are imported is left out.
    """
    files, folders = files_along(node.module or "", [str(file.parents[node.level - 1])] if node.level else None)
    names = []
    for alias in node.names:
        submodule, _ = files_along(alias.name, folders)
        yield from submodule
        names += [] if submodule else [alias.name]
    if files and names and is_own(files[-1], folder) and set(names) <= entities_in(files[-1]):
        del files[-1]
    yield from files


def files_along(name: str, folders: list[str] | None) -> tuple[list[Path], list[str]]:
    """The files of each package and of the module in a dotted name, and where to look for modules in the last.

    Looked for in `folders`, or in Python's path where there are none given.
    """
    files: list[Path] = []
    for part in filter(None, name.split(".")):
        spec = PathFinder.find_spec(part, folders)
        if spec is None:
            return files, []
        if spec.has_location and spec.origin:
            files.append(Path(spec.origin).resolve())
        folders = list(spec.submodule_search_locations or ())
    return files, folders or []


def entities_in(module: Path) -> set[str]:
    """The names that a module gives to entities."""
    return {
        target.id
        for line in tree_of(module).body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Call)
        if isinstance(line.value.func, ast.Name) and line.value.func.id == ENTITY
        for target in line.targets
        if isinstance(target, ast.Name)
    }


def says_something(tree: ast.Module) -> bool:
    """Whether there is more than a docstring."""
    return any(not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)) for line in tree.body)


def tree_of(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), str(file))
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
