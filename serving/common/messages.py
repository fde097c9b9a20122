"""Texts for callers and logs when something fails: bounded, on one line, without paths and addresses."""

import re
import traceback
from pathlib import PurePath

from tailrace.errors import SetupError
from tailrace.store.failures import StoreError

LONGEST_DETAIL = 2_000  # characters of a message to a caller
LONGEST_LINE = 400  # and of one failure in a log
FRAMES_LOGGED = 3
CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,79}")


class ServingError(SetupError):
    """The reader cannot be started; the message says why."""


def brief(text: str, longest: int) -> str:
    """The text as UTF-8 can hold it; where it is too long, its middle is left out."""
    readable = text.encode(errors="replace").decode()
    if len(readable) <= longest:
        return readable
    half = (longest - 3) // 2
    return f"{readable[:half]} … {readable[-half:]}"


def one_line(error: BaseException) -> str:
    """A failure in one line of a log: kind, message, and the innermost places by file name and line."""
    message = " ".join(str(error).split()) if not isinstance(error, RecursionError) else "nested too deep"
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_LOGGED:]
    where = " < ".join(f"{PurePath(one.filename).name}:{one.lineno}" for one in reversed(frames))
    return brief(f"{type(error).__name__}: {message}", LONGEST_LINE) + (f" (at {where})" if where else "")


def of_store(error: StoreError) -> str:
    """A store's error for callers: its own message can name addresses, accounts and tables."""
    code = error.code if CODE.fullmatch(error.code) else "it fails"
    return f"online store: {code}" + ("; try again" if error.is_transient else "; the reader's log says more")
