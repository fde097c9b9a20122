"""The file of keys as the command line changes it: a key is made, and taken away again."""

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from fcntl import LOCK_EX, flock
from pathlib import Path

import orjson

from serving.auth.keys import PREFIX, Key, KeysError, read_keys, sha256
from serving.auth.scopes import SCOPE

ID_BYTES, SECRET_BYTES = 8, 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def add_key(
    path: Path, name: str, *, scopes: Iterable[str], created: datetime, expires: datetime | None
) -> tuple[str, Key]:
    """Make a key and write its hash; the key itself is the first result, and is nowhere else. Raises `KeysError`."""
    wrong = [scope for scope in scopes if not SCOPE.fullmatch(scope)]
    if wrong:
        raise KeysError(
            f"{wrong[0]!r} is not a scope; scopes are read:SERVICE, read:*, write:VIEW, write:* and metrics"
        )
    if not NAME.fullmatch(name):
        raise KeysError(f"{name!r} is not a usable name; write a letter or digit, then at most 62 of a-z, 0-9, . _ -")
    key_id = secrets.token_hex(ID_BYTES)
    secret = f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    key = Key(
        id=key_id,
        name=name,
        sha256=sha256(secret),
        scopes=tuple(dict.fromkeys(scopes)),
        created=created,
        expires=expires,
    )
    with alone(path):
        keys = read_keys(path) if path.exists() else []
        if name in {one.name for one in keys}:
            raise KeysError(f"{path} has a key {name!r} already; remove it first, or give the new one another name")
        write_keys(path, [*keys, key])
    return secret, key


def remove_key(path: Path, name: str) -> Key:
    """Raises `KeysError` where there is none of that name."""
    with alone(path):
        keys = read_keys(path)
        for key in keys:
            if key.name == name:
                write_keys(path, [one for one in keys if one is not key])
                return key
    raise KeysError(f"{path} has no key {name!r}; there are {', '.join(key.name for key in keys) or 'none'}")


def write_keys(path: Path, keys: Iterable[Key]) -> None:
    """Write the file for its owner only; a reader sees the old one or the new one, also after a crash."""
    path = path.resolve()  # of a link, what it leads to is replaced
    text = orjson.dumps({"keys": [asdict(key) for key in keys]}, option=orjson.OPT_INDENT_2)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(ID_BYTES)}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let a second change of the same file wait for the first."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        flock(file, LOCK_EX)
        yield
