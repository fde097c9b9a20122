"""Every `TAILRACE_*` variable, read once into frozen dataclasses and passed down."""

from settings.environment import CHECKOUT, SettingsError, read_settings
from settings.model import (
    AccessLogging,
    LocalSettings,
    ReaderSettings,
    ScheduleSettings,
    Settings,
    SparkSettings,
    StoreSettings,
    Writes,
)
from settings.submit import submit_options

__all__ = [
    "CHECKOUT",
    "AccessLogging",
    "LocalSettings",
    "ReaderSettings",
    "ScheduleSettings",
    "Settings",
    "SettingsError",
    "SparkSettings",
    "StoreSettings",
    "Writes",
    "read_settings",
    "submit_options",
]
