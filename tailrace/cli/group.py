"""A group of commands that are imported when they are asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from typer.core import TyperGroup
from typer.main import get_group

# Where each command or group of commands is defined, as `app`.
MODULES: Mapping[str, str] = {
    "refresh": "refresh",
    "run": "refresh",
    "verify": "checks",
    "reconcile": "checks",
    "runs": "checks",
    "backfill": "backfill",
    "rebuild": "rebuild",
    "up": "local",
    "down": "local",
    "status": "local",
    "airflow": "local",
    "events": "events",
    "store": "store",
    "stream": "stream",
    "keys": "keys",
    "bench": "bench",
    "setup": "setup",
    "features": "features",
}


class CommandGroup(TyperGroup):
    """Commands of its own, and those of `MODULES`: `tailrace status` waits for neither Spark nor the reader."""

    modules: ClassVar[Mapping[str, str]] = MODULES

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands, in the order in which help shows them."""
        return [*super().list_commands(ctx), *(name for name in self.modules if name not in self.commands)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by its name; None where there is none."""
        if cmd_name in self.modules and cmd_name not in self.commands:
            group = get_group(import_module(f"tailrace.cli.{self.modules[cmd_name]}").app)
            command = group.commands.get(cmd_name, group)
            command.name = cmd_name
            self.add_command(command)
        return super().get_command(ctx, cmd_name)
