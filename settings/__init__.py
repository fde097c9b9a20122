"""Every `TAILRACE_*` variable, read once into frozen dataclasses and passed down."""

from settings.environment import SettingsError, read_settings
from settings.model import ScheduleSettings, Settings, SparkSettings, StoreSettings, Writes
from settings.submit import submit_options

__all__ = [
    "ScheduleSettings",
    "Settings",
    "SettingsError",
    "SparkSettings",
    "StoreSettings",
    "Writes",
    "read_settings",
    "submit_options",
]
