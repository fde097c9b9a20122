"""What a machine must have before set-up: a fitting Python. Java is looked at in tailrace/downloads.

Written so that Python 3.6 can read it, to say that it is too old.
"""

import sys
from importlib.util import find_spec

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)


def find_python_problem() -> "str | None":
    """Return what is missing of Python and the way out, or None."""
    found = sys.version_info[:2]
    if not OLDEST_PYTHON <= found <= NEWEST_PYTHON:
        return (
            f"Python 3.11, 3.12 or 3.13 is needed, {sys.executable} is {found[0]}.{found[1]}. "
            "Name another one: make setup PYTHON=python3.12"
        )
    if find_spec("venv") is None or find_spec("ensurepip") is None:
        return (
            f"{sys.executable} cannot make virtual environments. "
            f"On Debian and Ubuntu: apt-get install python{found[0]}.{found[1]}-venv"
        )
    return None
