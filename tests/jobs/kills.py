"""Runs that are killed at a commit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tailrace.lake import commit


class Killed(BaseException):
    """A run that is over at once, as if the process were gone."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, *, commits: int, before: bool) -> Iterator[None]:
    """Be killed at the first commit after so many, just before or just after it."""
    left = [commits]

    def mortal(write: Callable[..., None]) -> Callable[..., None]:
        def write_or_die(*args: Any, **options: Any) -> None:
            left[0] -= 1
            if left[0] < 0 and before:
                raise Killed
            write(*args, **options)
            if left[0] < 0:
                raise Killed

        return write_or_die

    with monkeypatch.context() as patch, suppress(Killed):
        for name in ("change", "keep", "become"):
            patch.setattr(commit, name, mortal(getattr(commit, name)))
        yield
