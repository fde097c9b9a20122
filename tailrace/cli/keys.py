"""`tailrace keys`: the file of keys with which rankers ask the reader."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.auth.api_keys import Key, add_key, read_key_file, remove_key
from tailrace.cli.output import AsJson, people, plain_table, show
from tailrace.errors import CommandError
from tailrace.schemas.slots import to_text
from tailrace.settings import read_settings
from tailrace.workspace.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="The keys with which rankers ask the reader.")

Scopes = Annotated[
    list[str],
    typer.Option("--scope", help="read:SERVICE, read:*, write:VIEW, write:* or metrics; may be given several times."),
]
Days = Annotated[int | None, typer.Option("--days", min=1, help="The key expires after so many; never by default.")]


@app.command()
def add(name: str, scope: Scopes, days: Days = None, as_json: AsJson = False) -> None:
    """Make a key and show it, this once: the file has only its hash. Readers accept it within a second or two."""
    check_names(scope)
    now = datetime.now(UTC).replace(microsecond=0)
    expires = None if days is None else now + timedelta(days=days)
    secret, key = add_key(keys_file(), name, scopes=scope, created=now, expires=expires)
    show({"key": secret} | shown(key), f"The key of {name}, which is shown only now:", as_json=as_json)
    if not as_json:
        people.print(secret, soft_wrap=True, highlight=False)  # in one line, also where that is narrow


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys, expired ones too."""
    keys = [shown(key) for key in read_key_file(keys_file())]
    rows: list[tuple[Any, ...]] = [
        (
            key["name"],
            ", ".join(key["scopes"]),
            key["created"],
            key["expires"] or "never",
            "yes" if key["expired"] else "",
        )
        for key in keys
    ]
    show(
        {"keys": keys}, plain_table("Keys", ("name", "scopes", "created", "expires", "expired"), rows), as_json=as_json
    )


@app.command()
def remove(name: str, as_json: AsJson = False) -> None:
    """Take a key away; readers refuse it within a second or two."""
    key = remove_key(keys_file(), name)
    show({"removed": shown(key)}, f"removed {name}", as_json=as_json)


def keys_file() -> Path:
    path = read_settings().reader.access.keys
    if path is None:
        raise CommandError("TAILRACE_READER_KEYS names no file; set it to the one that the reader is to take keys from")
    return path


def check_names(scopes: list[str]) -> None:
    """A scope for a service or view that is not defined would allow nothing, and nobody would know why."""
    definitions = Workspace().definitions
    known = {"read": set(definitions.services), "write": set(definitions.views)}
    for scope in scopes:
        deed, _, name = scope.partition(":")
        if deed in known and name != "*" and name not in known[deed]:
            what = "feature service" if deed == "read" else "view"
            raise CommandError(f"{scope}: there is no {what} {name!r}; there are {', '.join(sorted(known[deed]))}")


def shown(key: Key) -> dict[str, Any]:
    return {
        "name": key.name,
        "id": key.id,
        "scopes": list(key.scopes),
        "created": to_text(key.created),
        "expires": None if key.expires is None else to_text(key.expires),
        "expired": key.has_expired(),
    }
