from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from tailrace.settings import (
    AccessSettings,
    IssuerSettings,
    ReaderSettings,
    SettingsError,
    SparkSettings,
    StoreSettings,
    TlsSettings,
    read_settings,
)
from tailrace.settings.places import CHECKOUT
from tailrace.settings.variables import DEFAULTS

HOME = {"TAILRACE_HOME": "/srv/tailrace"}


def test_nothing_needs_to_be_set():
    settings = read_settings({})

    assert settings.home == Path.cwd() / "var"
    assert (settings.landing, settings.lake) == (str(settings.home / "landing"), str(settings.home / "lake"))
    assert settings.features == ("shipped",)
    assert settings.retention_hours == 72
    assert not settings.single_writer
    assert settings.spark == SparkSettings(
        master="local[*]",
        driver_memory="3g",
        java_options="-XX:+UseParallelGC -XX:MetaspaceSize=512m -XX:ReservedCodeCacheSize=512m",
        shuffle_partitions=4,
        jars=CHECKOUT / ".tools" / "jars",
        class_archive=CHECKOUT / ".tools" / "spark-classes.jsa",
    )
    assert settings.store == StoreSettings(
        url=None,
        table="tailrace",
        region="us-east-1",
        binary=CHECKOUT / ".tools" / "dynoxide",
        lease_seconds=30.0,
        in_flight=4,
        writes="transactions",
    )


def test_every_variable_reaches_its_setting():
    settings = read_settings(
        {
            "TAILRACE_HOME": "/home-of-it",
            "TAILRACE_LANDING": "/landed",
            "TAILRACE_LAKE": "/the-lake",
            "TAILRACE_FEATURES": "shipped:/more",
            "TAILRACE_RETENTION_HOURS": "1.5",
            "TAILRACE_SINGLE_WRITER": "1",
            "TAILRACE_SPARK_MASTER": "spark://cluster:7077",
            "TAILRACE_SPARK_MEMORY": "7g",
            "TAILRACE_SPARK_JAVA_OPTIONS": "-Xss4m",
            "TAILRACE_SHUFFLE_PARTITIONS": "17",
            "TAILRACE_JARS": "/jars",
            "TAILRACE_STORE_URL": "http://store:8000",
            "TAILRACE_STORE_TABLE": "other",
            "TAILRACE_STORE_REGION": "eu-central-1",
            "TAILRACE_STORE_BINARY": "/bin/dynoxide",
            "TAILRACE_STORE_IN_FLIGHT": "9",
            "TAILRACE_STORE_WRITES": "transactions",
            "TAILRACE_LEASE_SECONDS": "2.5",
        }
    )

    assert (settings.home, settings.landing, settings.lake) == (Path("/home-of-it"), "/landed", "/the-lake")
    assert settings.features == ("shipped", "/more")
    assert settings.retention_hours == 1.5
    assert settings.single_writer
    assert settings.spark == SparkSettings(
        master="spark://cluster:7077",
        driver_memory="7g",
        java_options="-Xss4m",
        shuffle_partitions=17,
        jars=Path("/jars"),
        class_archive=CHECKOUT / ".tools" / "spark-classes.jsa",
    )
    assert settings.store == StoreSettings(
        url="http://store:8000",
        table="other",
        region="eu-central-1",
        binary=Path("/bin/dynoxide"),
        lease_seconds=2.5,
        in_flight=9,
        writes="transactions",
    )


def test_every_variable_of_the_reader_reaches_its_setting():
    settings = read_settings(
        {
            "TAILRACE_READER_BUDGET_MS": "62.5",
            "TAILRACE_READER_AT_ONCE": "11",
            "TAILRACE_READER_CACHE_SECONDS": "0.5",
            "TAILRACE_READER_KEYS": "/keys.json",
            "TAILRACE_READER_ISSUER": "https://issuer.example/realm",
            "TAILRACE_READER_AUDIENCE": "tailrace",
            "TAILRACE_READER_JWKS": "https://issuer.example/jwks",
            "TAILRACE_READER_TLS_CERT": "/tls.crt",
            "TAILRACE_READER_TLS_KEY": "/tls.key",
            "TAILRACE_READER_ACCESS_LOG": "all",
            "TAILRACE_READER_DRAIN_SECONDS": "4.5",
            "TAILRACE_READER_OTEL": "1",
        }
    )

    issuer = IssuerSettings(url="https://issuer.example/realm", audience="tailrace", jwks="https://issuer.example/jwks")
    assert settings.reader == ReaderSettings(
        budget_ms=62.5,
        at_once=11,
        cache_seconds=0.5,
        access=AccessSettings(keys=Path("/keys.json"), issuer=issuer),
        tls=TlsSettings(certificate=Path("/tls.crt"), key=Path("/tls.key")),
        access_log="all",
        drain_seconds=4.5,
        traces=True,
    )


def test_an_empty_variable_counts_as_unset():
    assert read_settings(dict.fromkeys(DEFAULTS, "")) == read_settings({})


def test_landing_and_lake_lie_in_the_home_unless_set():
    settings = read_settings(HOME)

    assert (settings.landing, settings.lake) == ("/srv/tailrace/landing", "/srv/tailrace/lake")


def test_an_unknown_name_is_refused_with_the_one_that_was_meant():
    with pytest.raises(SettingsError, match=r"^TAILRACE_LANDNIG is not a setting.*did you mean TAILRACE_LANDING\?$"):
        read_settings({"TAILRACE_LANDNIG": ""})


def test_an_unknown_name_like_no_other_is_refused_with_all_that_there_are():
    with pytest.raises(SettingsError) as refusal:
        read_settings({"TAILRACE_QQQQQQQQQQQQQQQQ": "1"})

    assert str(refusal.value).endswith("known are " + ", ".join(DEFAULTS))


def test_names_of_other_programs_are_none_of_our_business():
    assert read_settings({"PATH": "/bin", "XTAILRACE_HOME": "/x", "tailrace_home": "/y"}) == read_settings({})


@pytest.mark.parametrize("name", ["TAILRACE_LANDING", "TAILRACE_LAKE"])
def test_a_relative_folder_is_made_absolute(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    settings = read_settings({name: "below/here"})

    assert str(tmp_path / "below/here") in (settings.landing, settings.lake)


def test_a_relative_home_is_made_absolute_with_all_that_is_in_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    settings = read_settings({"TAILRACE_HOME": "mine"})

    assert (settings.home, settings.lake) == (tmp_path / "mine", str(tmp_path / "mine" / "lake"))


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("TAILRACE_STORE_BINARY", lambda settings: settings.store.binary),
        ("TAILRACE_JARS", lambda settings: settings.spark.jars),
    ],
)
def test_a_relative_path_of_a_download_is_made_absolute(name, read, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    assert read(read_settings({name: "mine"})) == tmp_path / "mine"


def test_a_tilde_is_the_users_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/users/ada")

    settings = read_settings({"TAILRACE_HOME": "~/tailrace", "TAILRACE_LAKE": "~/lake"})

    assert (settings.home, settings.lake) == (Path("/users/ada/tailrace"), "/users/ada/lake")


@pytest.mark.parametrize("uri", ["s3a://bucket/lake", "hdfs://name:8020/x/y", "file:///srv/lake"])
def test_an_uri_stays_as_it_is(uri):
    settings = read_settings({"TAILRACE_LAKE": uri, "TAILRACE_LANDING": uri + "/landing/"})

    assert (settings.lake, settings.landing) == (uri, uri + "/landing")


def test_several_folders_of_definitions_are_told_apart():
    assert read_settings({"TAILRACE_FEATURES": "shipped::/a:/b:"}).features == ("shipped", "/a", "/b")


@pytest.mark.parametrize(
    "name",
    [
        "TAILRACE_SHUFFLE_PARTITIONS",
        "TAILRACE_STORE_IN_FLIGHT",
        "TAILRACE_LEASE_SECONDS",
        "TAILRACE_RETENTION_HOURS",
        "TAILRACE_READER_BUDGET_MS",
        "TAILRACE_READER_AT_ONCE",
    ],
)
@pytest.mark.parametrize("text", ["0", "-1", "four", "1e9", "nan", "inf", "4 5"])
def test_what_is_no_positive_number_is_refused(name, text):
    with pytest.raises(SettingsError, match=rf"^{name}={text} is not a positive number$"):
        read_settings({name: text})


def test_refreshes_come_at_even_intervals_are_late_or_never_and_tell_a_function_that_is_named():
    schedule = read_settings(
        {"TAILRACE_REFRESH_MINUTES": "5", "TAILRACE_DEADLINE_MINUTES": "0", "TAILRACE_ALERTS": "ours.paging:page"}
    ).schedule

    assert (schedule.refresh_minutes, schedule.deadline_minutes, schedule.alerts) == (5, 0, "ours.paging:page")
    assert read_settings({"TAILRACE_DEADLINE_MINUTES": "7.5"}).schedule.deadline_minutes == 7.5
    assert read_settings({}).schedule.alerts is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("TAILRACE_REFRESH_MINUTES", "7", "does not divide an hour"),
        ("TAILRACE_REFRESH_MINUTES", "90", "does not divide an hour"),
        ("TAILRACE_REFRESH_MINUTES", "0", "is not a positive number"),
        ("TAILRACE_DEADLINE_MINUTES", "-1", "is not a positive number"),
        ("TAILRACE_READER_CACHE_SECONDS", "-1", "is not a positive number"),
        ("TAILRACE_ALERTS", "ours.paging", "does not name a function"),
        ("TAILRACE_ALERTS", ":page", "does not name a function"),
        ("TAILRACE_ALERTS", "ours:pa ge", "does not name a function"),
    ],
)
def test_a_schedule_that_airflow_could_not_keep_is_refused(name, text, said):
    with pytest.raises(SettingsError, match=f"{name}={text} {said}"):
        read_settings({name: text})


@pytest.mark.parametrize("name", ["TAILRACE_SHUFFLE_PARTITIONS", "TAILRACE_STORE_IN_FLIGHT"])
def test_what_counts_things_takes_whole_numbers_only(name):
    with pytest.raises(SettingsError, match=name):
        read_settings({name: "2.5"})


@pytest.mark.parametrize(
    ("url", "said", "writes"),
    [
        ("", "", "transactions"),
        ("http://store:8000", "", "updates"),
        ("", "updates", "updates"),
        ("http://store:8000", "transactions", "transactions"),
    ],
)
def test_a_push_writes_as_told_or_as_suits_the_store(url, said, writes):
    settings = read_settings({"TAILRACE_STORE_URL": url, "TAILRACE_STORE_WRITES": said})

    assert settings.store.writes == writes


def test_a_way_to_write_that_does_not_exist_is_refused():
    told = r"^TAILRACE_STORE_WRITES=Updates is not a way to write; it takes transactions or updates, or nothing$"

    with pytest.raises(SettingsError, match=told):
        read_settings({"TAILRACE_STORE_WRITES": "Updates"})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("TAILRACE_READER_ACCESS_LOG", "errors", "is not a choice of requests; it takes off or refused or all"),
        ("TAILRACE_READER_DRAIN_SECONDS", "-1", "is not a positive number"),
        ("TAILRACE_READER_OTEL", "yes", "is neither on nor off; it takes 1 or 0"),
    ],
)
def test_what_the_reader_cannot_take_is_refused(name, text, said):
    with pytest.raises(SettingsError, match=f"^{name}={text} {said}$"):
        read_settings({name: text})


def test_settings_cannot_be_changed():
    settings = read_settings({})

    with pytest.raises(FrozenInstanceError):
        settings.store.table = "other"  # type: ignore[misc]


def test_the_environment_is_read_when_asked(monkeypatch):
    monkeypatch.setenv("TAILRACE_STORE_TABLE", "asked-later")

    assert read_settings().store.table == "asked-later"
