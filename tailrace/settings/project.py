"""The settings that a project keeps in its own folder."""

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tailrace.settings.environment import PREFIX, SettingsError, refuse_unknown_names

PROJECT_FILE = "tailrace.toml"


def with_project(environment: Mapping[str, str], *, folder: Path | None = None) -> dict[str, str]:
    """The environment, with what `tailrace.toml` in the folder, the current one by default, says of unset variables."""
    of_project = project_settings((folder or Path()) / PROJECT_FILE)
    return {**environment, **{name: text for name, text in of_project.items() if not environment.get(name)}}


def project_settings(file: Path) -> dict[str, str]:
    """The variables that a project's file sets, none where there is no file; raises `SettingsError`, which names it."""
    refuse_written_by_others(file)
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file.absolute()} cannot be read as TOML: {error}") from error
    variables = {f"{PREFIX}{name.upper()}": setting_text(file, name, value) for name, value in found.items()}
    try:
        refuse_unknown_names(variables)
    except SettingsError as error:
        raise SettingsError(f"{file.absolute()}: {error}") from error
    return variables


def refuse_written_by_others(file: Path) -> None:
    """Raise `SettingsError` for a file that somebody else may write: it names Python that commands import."""
    try:
        found = file.stat()
    except OSError:
        return
    if hasattr(os, "geteuid") and (found.st_uid not in {0, os.geteuid()} or found.st_mode & stat.S_IWOTH):
        raise SettingsError(
            f"{file.absolute()} belongs to another user, or all may write it; it names code that commands run. "
            f"Own it and take that away (chmod o-w {file.name}), or work in another folder"
        )


def setting_text(file: Path, name: str, value: object) -> str:
    """A value as the variable would have it: true and false as 1 and 0."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    raise SettingsError(f'{file.absolute()}: {name!r} is neither a text nor a number; write it as {name} = "…"')
