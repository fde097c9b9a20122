"""API keys: the file that has their hashes, and the keys that a reader process knows."""

import asyncio
import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import orjson

from serving.auth.identity import SCOPE, BadCredential, Identity
from serving.common.loop import keep_doing
from serving.common.messages import ServingError, one_line
from tailrace.errors import SetupError
from tailrace.settings import AccessSettings
from tailrace.settings.places import is_loopback

PREFIX = "trk_"  # separates keys from tokens, and names what somebody found in a log
LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)

ID_BYTES, SECRET_BYTES = 8, 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class KeysError(SetupError):
    """A file of keys that cannot be used, or a key that cannot be made; the message names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One entry of the file; `id` is the part of the key that is not secret, `sha256` the hash of all of it.

    SHA-256 is enough where a slow hash for passwords would cost milliseconds with every request: a key has 256 random
    bits, of which nobody finds one by trying, however fast a try is.
    """

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime | None

    def has_expired(self) -> bool:
        return self.expires is not None and self.expires.timestamp() <= time.time()

    @property
    def identity(self) -> Identity:
        return Identity(name=f"key:{self.name}", scopes=frozenset(self.scopes))


class KeyRing:
    """The keys of a file, read again every second; while it cannot be used, those read last stay."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._raw: bytes | None = None
        self._failure = ""
        self._known: dict[str, tuple[Key, Identity]] = {}

    def identify(self, presented: str) -> Identity:
        """Whose key that is; raises `BadCredential` for one that is not known or has expired.

        It is found by the part that is not secret, and the hashes are compared in the same time wherever they differ.
        """
        digest = sha256(presented)
        key, identity = self._known.get(id_of(presented), (None, None))
        same = hmac.compare_digest(digest, key.sha256 if key else "")
        if key is None or identity is None or not same:
            raise BadCredential("the key is not known")
        if key.has_expired():
            raise BadCredential("the key has expired", name=identity.name)
        return identity

    async def keep_fresh(self) -> None:
        """Look at the file again and again, until cancelled."""
        await keep_doing("looking at the keys", self.refresh, pause=lambda: LOOK_SECONDS, log=log)

    async def refresh(self) -> None:
        """Take what the file holds now; where that cannot be used, keep the keys read last and say so in the log."""
        failure = ""
        try:
            raw = await asyncio.to_thread(self._path.read_bytes)
            if raw != self._raw:
                known = parse_keys(raw)
                self._known = {key.id: (key, key.identity) for key in known}
                self._raw = raw
                log.info("keys: %d in %s", len(known), self._path)
        except KeysError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - whatever the file is, those read last stay
            failure = one_line(error)
        if failure and failure != self._failure:
            log.error("keys: %s cannot be used, the %d read last stay: %s", self._path, len(self._known), failure)
        self._failure = failure


def read_key_file(path: Path) -> list[Key]:
    """Raises `KeysError` if the file is not there or cannot be used."""
    try:
        return parse_keys(path.read_bytes())
    except FileNotFoundError as error:
        raise KeysError(f"there is no file {path}; `tailrace keys add NAME --scope read:SERVICE` makes it") from error
    except (KeysError, OSError) as error:
        raise KeysError(f"the keys in {path} cannot be read: {error}") from error


def parse_keys(raw: bytes) -> list[Key]:
    """Raises `KeysError` unless every entry can be used."""
    try:
        keys = [to_key(entry) for entry in orjson.loads(raw)["keys"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise KeysError(f"this is not a list of keys, {type(error).__name__}: {error}") from error
    for what in ("id", "name"):
        if len({getattr(key, what) for key in keys}) < len(keys):
            raise KeysError(f"two keys have the same {what}")
    return keys


def to_key(entry: Any) -> Key:
    key = Key(
        id=entry["id"],
        name=entry["name"],
        sha256=entry["sha256"],
        scopes=tuple(entry["scopes"]),
        created=datetime.fromisoformat(entry["created"]),
        expires=None if entry["expires"] is None else datetime.fromisoformat(entry["expires"]),
    )
    if not (isinstance(entry["scopes"], list) and all(isinstance(one, str) for one in (key.id, key.name, *key.scopes))):
        raise TypeError("id, name and scopes are strings")
    if len(bytes.fromhex(key.sha256)) != hashlib.sha256().digest_size:
        raise ValueError("sha256 is 64 hexadecimal digits")
    if key.expires is not None and key.expires.tzinfo is None:
        raise ValueError("expires needs a time zone")
    return key


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def id_of(key: str) -> str:
    """The part of a key between prefix and secret."""
    return key.removeprefix(PREFIX).partition("_")[0]


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
        raise KeysError(f"{name!r} is not a valid name; write a letter or digit, then at most 62 of a-z, 0-9, . _ -")
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
    with exclusive(path):
        keys = read_key_file(path) if path.exists() else []
        if name in {one.name for one in keys}:
            raise KeysError(f"{path} has a key {name!r} already; remove it first, or give the new one another name")
        write_keys(path, [*keys, key])
    return secret, key


def remove_key(path: Path, name: str) -> Key:
    """Raises `KeysError` if there is none of that name."""
    with exclusive(path):
        keys = read_key_file(path)
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
def exclusive(path: Path) -> Iterator[None]:
    """Let a second change of the same file wait for the first."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        flock(file, LOCK_EX)
        yield


def check_access(access: AccessSettings, *, host: str, local: bool) -> None:
    """Raises `ServingError` for a reader that would answer everybody, or nobody, or whose keys cannot be read."""
    if local:
        if not is_loopback(host):
            raise ServingError(f"--local answers everybody, and others reach {host}; listen on 127.0.0.1")
        return
    if access.keys is None and access.issuer is None:
        raise ServingError(
            "nobody could ask this reader: set TAILRACE_READER_KEYS to a file of keys (`tailrace keys add` makes it) or "
            "TAILRACE_READER_ISSUER to an issuer of tokens; --local answers everybody, on this machine only"
        )
    if access.keys is not None:
        try:
            read_key_file(access.keys)
        except KeysError as error:
            raise ServingError(str(error)) from error
