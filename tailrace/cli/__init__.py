"""The command `tailrace`: one module for each group of commands."""

from tailrace.cli.app import main

__all__ = ["main"]
