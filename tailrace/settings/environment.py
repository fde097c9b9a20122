"""The one reader of the environment."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from tailrace.errors import SetupError
from tailrace.settings.model import (
    ACCESS_LOGGING,
    SCOPES,
    WRITES,
    AccessLogging,
    AccessSettings,
    IssuerSettings,
    LocalSettings,
    ReaderSettings,
    ScheduleSettings,
    Scope,
    Settings,
    SparkSettings,
    StoreSettings,
    StreamSettings,
    TlsSettings,
    Writes,
)
from tailrace.settings.places import comes_unchanged, tools_folder
from tailrace.settings.variables import DEFAULTS

N = TypeVar("N", int, float)

PREFIX = "TAILRACE_"


class SettingsError(SetupError):
    """A `TAILRACE_*` variable that cannot be used; the message names it and what it takes."""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read all settings; an empty variable counts as unset, an unknown `TAILRACE_*` name is refused."""
    refuse_unknown_names(environment)
    value = {name: environment.get(name) or default for name, default in DEFAULTS.items()}
    home = local_path(value["TAILRACE_HOME"], default=Path())
    tools = tools_folder(environment)
    return Settings(
        home=home,
        landing=location(value["TAILRACE_LANDING"], default=home / "landing"),
        lake=location(value["TAILRACE_LAKE"], default=home / "lake"),
        retention_hours=positive("TAILRACE_RETENTION_HOURS", value, number=float),
        single_writer=switch("TAILRACE_SINGLE_WRITER", value),
        features=tuple(part for part in value["TAILRACE_FEATURES"].split(os.pathsep) if part),
        spark=spark_settings(value, tools),
        store=store_settings(value, tools),
        stream=stream_settings(value, tools),
        schedule=schedule_settings(value),
        reader=reader_settings(value),
        local=local_settings(value),
    )


def spark_settings(value: Mapping[str, str], tools: Path) -> SparkSettings:
    return SparkSettings(
        master=value["TAILRACE_SPARK_MASTER"],
        driver_memory=value["TAILRACE_SPARK_MEMORY"],
        java_options=value["TAILRACE_SPARK_JAVA_OPTIONS"],
        shuffle_partitions=positive("TAILRACE_SHUFFLE_PARTITIONS", value, number=int),
        jars=local_path(value["TAILRACE_JARS"], default=tools / "jars"),
        class_archive=tools / "spark-classes.jsa",
        kafka_jars=tools / "kafka-spark" if value["TAILRACE_KAFKA"] else None,
    )


def store_settings(value: Mapping[str, str], tools: Path) -> StoreSettings:
    return StoreSettings(
        url=value["TAILRACE_STORE_URL"] or None,
        table=value["TAILRACE_STORE_TABLE"],
        region=value["TAILRACE_STORE_REGION"],
        binary=local_path(value["TAILRACE_STORE_BINARY"], default=tools / "dynoxide"),
        lease_seconds=positive("TAILRACE_LEASE_SECONDS", value, number=float),
        in_flight=positive("TAILRACE_STORE_IN_FLIGHT", value, number=int),
        writes=writes(value["TAILRACE_STORE_WRITES"], url=value["TAILRACE_STORE_URL"]),
        environment=label("TAILRACE_ENVIRONMENT", value),
    )


def label(name: str, value: Mapping[str, str]) -> str:
    """A name for people, or nothing."""
    if not re.fullmatch("[A-Za-z0-9._-]{0,64}", value[name]):
        raise SettingsError(f"{name}={value[name]!r:.80} must be at most 64 of A-Z, a-z, 0-9, '.', '_' and '-'")
    return value[name]


def stream_settings(value: Mapping[str, str], tools: Path) -> StreamSettings:
    return StreamSettings(
        kafka=value["TAILRACE_KAFKA"] or None,
        topic=value["TAILRACE_KAFKA_TOPIC"],
        properties=file(value["TAILRACE_KAFKA_PROPERTIES"]),
        enabled=switch("TAILRACE_STREAMING", value),
        broker_port=port("TAILRACE_KAFKA_PORT", value),
        broker_jars=tools / "kafka",
    )


def schedule_settings(value: Mapping[str, str]) -> ScheduleSettings:
    return ScheduleSettings(
        refresh_minutes=part_of_an_hour("TAILRACE_REFRESH_MINUTES", value),
        deadline_minutes=positive_or_never("TAILRACE_DEADLINE_MINUTES", value),
        alerts=function(value["TAILRACE_ALERTS"]),
        application_per=scope(value["TAILRACE_APPLICATION_PER"]),
    )


def reader_settings(value: Mapping[str, str]) -> ReaderSettings:
    return ReaderSettings(
        budget_ms=positive("TAILRACE_READER_BUDGET_MS", value, number=float),
        at_once=positive("TAILRACE_READER_AT_ONCE", value, number=int),
        cache_seconds=positive_or_never("TAILRACE_READER_CACHE_SECONDS", value),
        access=access(value),
        tls=tls(value),
        access_log=access_logging(value["TAILRACE_READER_ACCESS_LOG"]),
        drain_seconds=positive_or_never("TAILRACE_READER_DRAIN_SECONDS", value),
        traces=switch("TAILRACE_READER_OTEL", value),
    )


def local_settings(value: Mapping[str, str]) -> LocalSettings:
    return LocalSettings(
        airflow_port=port("TAILRACE_AIRFLOW_PORT", value),
        reader_port=port("TAILRACE_READER_PORT", value),
        reader_workers=positive("TAILRACE_READER_WORKERS", value, number=int),
    )


def access(value: Mapping[str, str]) -> AccessSettings:
    issuer, audience = value["TAILRACE_READER_ISSUER"], value["TAILRACE_READER_AUDIENCE"]
    jwks = value["TAILRACE_READER_JWKS"]
    if bool(issuer) != bool(audience) or (jwks and not issuer):
        raise SettingsError(
            "TAILRACE_READER_ISSUER and TAILRACE_READER_AUDIENCE go together, TAILRACE_READER_JWKS with both"
        )
    for name in ("TAILRACE_READER_ISSUER", "TAILRACE_READER_JWKS"):
        if value[name] and not comes_unchanged(value[name]):
            raise SettingsError(f"{name}={value[name]} must be an https:// URL or a loopback address")
    return AccessSettings(
        keys=file(value["TAILRACE_READER_KEYS"]),
        issuer=IssuerSettings(url=issuer, audience=audience, jwks=jwks or None) if issuer else None,
    )


def tls(value: Mapping[str, str]) -> TlsSettings | None:
    certificate, key = value["TAILRACE_READER_TLS_CERT"], value["TAILRACE_READER_TLS_KEY"]
    if bool(certificate) != bool(key):
        raise SettingsError("TAILRACE_READER_TLS_CERT and TAILRACE_READER_TLS_KEY go together; set both, or neither")
    if not certificate:
        return None
    return TlsSettings(certificate=local_path(certificate, default=Path()), key=local_path(key, default=Path()))


def refuse_unknown_names(environment: Mapping[str, str]) -> None:
    for name in environment:
        if name.startswith(PREFIX) and name not in DEFAULTS:
            close = difflib.get_close_matches(name, DEFAULTS, n=1)
            hint = f"did you mean {close[0]}?" if close else "known are " + ", ".join(DEFAULTS)
            raise SettingsError(f"{name} is not a setting of Tailrace; {hint}")


def local_path(text: str, *, default: Path) -> Path:
    return Path(text).expanduser().absolute() if text else default


def file(text: str) -> Path | None:
    return local_path(text, default=Path()) if text else None


def location(text: str, *, default: Path) -> str:
    """A folder as Spark takes it: an URI such as `s3a://bucket/lake` as it is, a path made absolute."""
    if not text:
        return str(default)
    return text.rstrip("/") if "://" in text else str(local_path(text, default=default))


def writes(text: str, *, url: str) -> Writes:
    """How a push writes; unless it is said, in transactions only to the embedded store, where they cost no more."""
    if not text:
        return "updates" if url else "transactions"
    for known in WRITES:
        if text == known:
            return known
    raise SettingsError(
        f"TAILRACE_STORE_WRITES={text} is not a way to write; it takes {' or '.join(WRITES)}, or nothing"
    )


def scope(text: str) -> Scope:
    for known in SCOPES:
        if text == known:
            return known
    raise SettingsError(f"TAILRACE_APPLICATION_PER={text} is not a part of a refresh; it takes {' or '.join(SCOPES)}")


def access_logging(text: str) -> AccessLogging:
    for known in ACCESS_LOGGING:
        if text == known:
            return known
    choices = " or ".join(ACCESS_LOGGING)
    raise SettingsError(f"TAILRACE_READER_ACCESS_LOG={text} is not a choice of requests; it takes {choices}")


def switch(name: str, value: Mapping[str, str]) -> bool:
    if value[name] not in {"0", "1"}:
        raise SettingsError(f"{name}={value[name]} is neither on nor off; it takes 1 or 0")
    return value[name] == "1"


def positive(name: str, value: Mapping[str, str], *, number: type[N]) -> N:
    try:
        parsed = number(value[name])
    except ValueError:
        parsed = number(0)
    if not 0 < parsed < 1e9:
        raise SettingsError(f"{name}={value[name]} is not a positive number")
    return parsed


def port(name: str, value: Mapping[str, str]) -> int:
    number = positive(name, value, number=int)
    if number > 65535:
        raise SettingsError(f"{name}={number} is not a port; ports go up to 65535")
    return number


def part_of_an_hour(name: str, value: Mapping[str, str]) -> int:
    minutes = positive(name, value, number=int)
    if 60 % minutes:
        raise SettingsError(f"{name}={minutes} does not divide an hour; take 5, 10, 15, 20, 30 or the like")
    return minutes


def positive_or_never(name: str, value: Mapping[str, str]) -> float:
    """A number that may be 0, which then stands for never."""
    return 0.0 if value[name] == "0" else positive(name, value, number=float)


def function(text: str) -> str | None:
    module, colon, name = text.partition(":")
    if text and not (module and colon and name.isidentifier()):
        raise SettingsError(f"TAILRACE_ALERTS={text} does not name a function; write it as module:function")
    return text or None
