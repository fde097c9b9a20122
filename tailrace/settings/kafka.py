"""The properties of Kafka's clients, from a file as Java's own tools take it: `security.protocol=SASL_SSL` and so on."""

import re
from collections.abc import Iterator
from pathlib import Path

from tailrace.settings.environment import SettingsError

VARIABLE = "TAILRACE_KAFKA_PROPERTIES"
NAME = re.compile(r"[A-Za-z0-9._-]+")
# A name ends where `=`, `:` or a blank follows that no backslash stands before.
PROPERTY = re.compile(r"((?:\\.|[^\\\s=:])+)(?:\s*[=:]\s*|\s+)(.*)", re.DOTALL)
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

OURS = {
    "bootstrap.servers": "set TAILRACE_KAFKA",
    "group.id": "offsets are kept by Tailrace, not by a group",
    "group.instance.id": "offsets are kept by Tailrace, not by a group",
    "auto.offset.reset": "a topic is taken from its beginning",
    "enable.auto.commit": "offsets are kept by Tailrace, not by a group",
    "interceptor.classes": "Spark takes none",
    "key.deserializer": "messages are taken as bytes",
    "value.deserializer": "messages are taken as bytes",
}


def read_properties(file: Path | None) -> dict[str, str]:
    """Properties by name, none without a file; raises `SettingsError`, which names no value: some are secret."""
    if file is None:
        return {}
    try:
        text = file.read_text(encoding="iso-8859-1")  # as Java reads it
    except OSError as error:
        raise SettingsError(f"{VARIABLE}={file} cannot be read: {error.strerror}") from error
    properties = {}
    for number, line in logical_lines(text):
        matched = PROPERTY.fullmatch(line)
        name = unescaped(matched[1]) if matched else ""
        if matched is None or not NAME.fullmatch(name):
            raise SettingsError(f"{file}, line {number} is not a property; write it as name=value")
        if name in OURS:
            raise SettingsError(f"{file}, line {number}: {name} is not to be set there: {OURS[name]}")
        properties[name] = unescaped(matched[2])
    return properties


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments and blank ones, each with its number; one that ends in a backslash goes on in the next."""
    begun, whole = 0, ""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        part = line.lstrip(" \t\f")
        if not begun and (not part or part[0] in "#!"):
            continue
        begun, whole = begun or number, whole + part
        backslashes = len(whole) - len(whole.rstrip("\\"))
        if backslashes % 2:
            whole = whole[:-1]
        else:
            yield begun, whole
            begun, whole = 0, ""
    if begun:
        yield begun, whole


def unescaped(text: str) -> str:
    """What Java makes of `\\:`, `\\t`, `\\u00e9` and their likes."""

    def meant(matched: re.Match[str]) -> str:
        sign = matched[1]
        return chr(int(sign[1:], 16)) if len(sign) > 1 else CONTROLS.get(sign, sign)

    return ESCAPE.sub(meant, text)
