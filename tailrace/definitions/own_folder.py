"""Import the definition files of a folder, which may import each other and the modules next to them by their names.

While the files of a folder load, Python finds its modules, whether the folder is on Python's path or not; two folders may
have files of one name. What Python itself or an installed package has under a name comes first.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import Lock, RLock
from types import ModuleType

from tailrace.errors import DefinitionError

PREFIX = "definitions_"  # of the names of modules that Python does not find by their own
PRODUCT_FOLDER = Path(__file__).resolve().parents[2]
_one_folder_at_a_time = RLock()
# Python counts how deep its parser is for all threads together, and fails where several parse at once
# (https://github.com/python/cpython/issues/106905); views are refreshed in threads.
_one_parser_at_a_time = Lock()


def own_spec(name: str, folder: Path) -> ModuleSpec | None:
    """A folder's module or package of a name; None where there is none, or Python or an installed package has the name."""
    own = PathFinder.find_spec(name, [str(folder)])
    if own is None or name in sys.stdlib_module_names:
        return None
    elsewhere = PathFinder.find_spec(name)
    if elsewhere is None or _file_of(elsewhere) == _file_of(own):
        return own
    return None if _file_of(own) is None or _is_installed(elsewhere) else own


def import_file(file: Path) -> ModuleType:
    """Import a definition file, or a module next to one, once: under its own name where Python finds it by that."""
    name = file.stem if _is_on_path(file) else f"{PREFIX}{file.stem}_{hashlib.sha256(bytes(file)).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DefinitionError(f"{file}: cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Have a folder's modules found by their names; the names are free again afterwards."""
    with _one_folder_at_a_time:
        finder = _FolderFinder(folder)
        others = _of_other_folders(folder)
        for name in others:
            del sys.modules[name]
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if name.partition(".")[0] in finder.given]:
                del sys.modules[name]
            sys.modules.update(others)


def parsed(file: Path) -> ast.Module:
    """The syntax tree of a file; raises what `ast.parse` does."""
    with _one_parser_at_a_time:
        return ast.parse(file.read_bytes(), str(file))


def refuse_late_imports(file: Path) -> None:
    """Raise `DefinitionError` for a function that imports a module of the folder, which is not found when it runs."""
    for function in ast.walk(parsed(file)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for line in ast.walk(function):
            for name in _imported_by(line):
                own = own_spec(name, file.parent)
                if own is not None and not _is_found(own):
                    raise DefinitionError(
                        f"line {getattr(line, 'lineno', 0)}: the function {function.name!r} imports {name!r}, which is found "
                        f"only while definitions load; import it at the top of the file, or put {file.parent} on PYTHONPATH"
                    )


def _imported_by(line: ast.AST) -> list[str]:
    if isinstance(line, ast.Import):
        return [alias.name.partition(".")[0] for alias in line.names]
    return (
        [line.module.partition(".")[0]] if isinstance(line, ast.ImportFrom) and line.module and not line.level else []
    )


class _FolderFinder(MetaPathFinder):
    """Finds what a folder has, and keeps which names it gave."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.given: set[str] = set()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 -- part of the protocol
    ) -> ModuleSpec | None:
        own = own_spec(fullname, self._folder) if path is None else None
        if own is None or _is_found(own):
            return None
        self.given.add(fullname)
        file = _file_of(own)
        if file is None or own.submodule_search_locations is not None:
            return own
        return importlib.util.spec_from_loader(fullname, _SameModule(file))


class _SameModule(Loader):
    """Gives the module that a definition file is loaded as, instead of another one of the same file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 -- part of the protocol
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_file(self._file)


def _of_other_folders(folder: Path) -> dict[str, ModuleType]:
    """The loaded modules that have a name of the folder's, from another place."""
    names = {one.stem for one in folder.iterdir() if one.stem in sys.modules and own_spec(one.stem, folder)}
    others = {name for name in names if not Path(sys.modules[name].__file__ or "").resolve().is_relative_to(folder)}
    return {name: module for name, module in [*sys.modules.items()] if name.partition(".")[0] in others}


def _is_on_path(file: Path) -> bool:
    """Whether Python finds a file by its own name, and has nothing else of that name."""
    found, loaded = PathFinder.find_spec(file.stem), sys.modules.get(file.stem)
    if found is None or file.stem in sys.stdlib_module_names or _file_of(found) != file:
        return False
    return loaded is None or Path(loaded.__file__ or "").resolve() == file


def _is_found(own: ModuleSpec) -> bool:
    """Whether Python finds a folder's module by itself."""
    found = PathFinder.find_spec(own.name)
    return found is not None and _file_of(found) == _file_of(own)


def _file_of(spec: ModuleSpec) -> Path | None:
    """The file of a module; None for a folder without `__init__.py`."""
    return Path(spec.origin).resolve() if spec.has_location and spec.origin else None


def _is_installed(spec: ModuleSpec) -> bool:
    file = _file_of(spec)
    if file is None:
        return False
    where = file.parent.parent if spec.submodule_search_locations is not None else file.parent
    installed = (Path(path).resolve() for path in sysconfig.get_paths().values())
    return where == PRODUCT_FOLDER or any(where.is_relative_to(path) for path in installed)
