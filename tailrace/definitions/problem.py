"""What is wrong with a definition, and how names are checked."""

import re

from tailrace.errors import DefinitionError

__all__ = ["NAME", "DefinitionError", "check_name"]

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def check_name(name: str, *, of: str) -> None:
    if not NAME.fullmatch(name):
        raise DefinitionError(
            f"{of}: {name!r} is not a usable name; write a lower-case letter, then at most 62 of a-z, 0-9 and _"
        )
