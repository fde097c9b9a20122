"""A new project: the files of a template, written into an empty folder."""

import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

from tailrace.errors import CommandError

TEMPLATE = "project_template"
HIDDEN = {"gitignore": ".gitignore"}  # which would hide files of the template where it lies


def write_project(folder: Path) -> list[str]:
    """Write a project, all of it or nothing; raises `CommandError` unless the folder is new or empty."""
    is_new = not folder.exists()
    refuse_filled(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        move_template(folder)
    except BaseException:
        if is_new:
            folder.rmdir()
        raise
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def move_template(folder: Path) -> None:
    """Copy the template to the same disk, then move it to its place; what was moved is removed if the rest cannot be."""
    moved: list[Path] = []
    with tempfile.TemporaryDirectory(prefix=".tailrace-init-", dir=folder) as near:
        try:
            for path in copy_template(Path(near) / "project"):
                moved += [path.rename(folder / path.name)]
        except BaseException:
            for path in moved:
                remove(path)
            raise


def refuse_filled(folder: Path) -> None:
    """Raise `CommandError` for what is not a folder, and for one that has anything in it."""
    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is a file; name a folder that does not exist yet, or an empty one")
    if folder.is_dir() and (found := next(folder.iterdir(), None)) is not None:
        raise CommandError(f"{folder} is not empty, it has {found.name}; name a folder that does not exist yet")


def copy_template(folder: Path) -> list[Path]:
    """Copy the template; returns what is at its top."""
    with as_file(files("tailrace") / TEMPLATE) as template:
        shutil.copytree(template, folder, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__"))
    for name, hidden in HIDDEN.items():
        (folder / name).rename(folder / hidden)
    return sorted(folder.iterdir())


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
