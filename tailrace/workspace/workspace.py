"""The workspace: one home and its definitions, as Python."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tailrace.settings import Settings, read_settings
from tailrace.workspace.resources import Resources


class Workspace(Resources):
    """One home and its definitions; the command line and Python work on it alike.

    `home` and `features` (a folder, or several) stand for TAILRACE_HOME and TAILRACE_FEATURES; all other settings are
    read from the environment. `settings` replaces all of that. `views` names the views that are refreshed, all by default.
    """

    def __init__(
        self,
        *,
        home: str | Path | None = None,
        features: str | Path | Iterable[str | Path] | None = None,
        views: Iterable[str] = (),
        settings: Settings | None = None,
    ) -> None:
        super().__init__(settings or settings_of(home, features), views=views)


def settings_of(home: str | Path | None, features: str | Path | Iterable[str | Path] | None) -> Settings:
    """The settings of the environment, with another home and other folders of definitions where these are given."""
    settings = read_settings(os.environ | ({} if home is None else {"TAILRACE_HOME": str(home)}))
    if features is None:
        return settings
    folders = [features] if isinstance(features, str | Path) else features
    return replace(settings, features=tuple(str(folder) for folder in folders))
