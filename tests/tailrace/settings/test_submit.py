"""What a JVM is started with."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tailrace.settings import SettingsError, check_store_is_reachable, read_settings, submit_options
from tailrace.settings.options import of_class_archive


@pytest.fixture
def spark_settings(tmp_path):
    (tmp_path / "delta.jar").touch()
    archive = tmp_path / "my classes.jsa"
    return replace(read_settings({}).spark, jars=tmp_path, class_archive=archive, java_options="-Xss4m")


def test_without_an_archive_of_classes_the_java_options_are_those_that_are_set(spark_settings):
    assert submit_options(spark_settings)["spark.driver.extraJavaOptions"] == "-Xss4m"


def test_an_archive_of_classes_is_used_where_it_is_there(spark_settings):
    spark_settings.class_archive.touch()

    options = submit_options(spark_settings)["spark.driver.extraJavaOptions"]

    assert options == f'-Xss4m "-XX:SharedArchiveFile={spark_settings.class_archive}" -Xlog:cds*=error'


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda archive: archive.write_text("of another java"), id="of another Java"),
        pytest.param(Path.unlink, id="not on the driver's machine"),
    ],
)
def test_an_archive_that_the_jvm_cannot_use_is_left_aside_without_a_word(spark_settings, change):
    spark_settings.class_archive.touch()
    options = [option.strip('"') for option in of_class_archive(spark_settings)]
    change(spark_settings.class_archive)

    started = subprocess.run(["java", *options, "-version"], capture_output=True, text=True, check=True)

    assert started.stdout == ""
    assert "version" in started.stderr


CLUSTER = "spark://cluster.example:7077"


@pytest.mark.parametrize("master", [CLUSTER, "yarn", "k8s://https://cluster.example:443"])
@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"])
def test_a_store_of_this_machine_is_refused_for_executors_elsewhere(master, url):
    with pytest.raises(SettingsError) as refused:
        check_store_is_reachable(read_settings({"TAILRACE_STORE_URL": url}), master=master)

    assert all(name in str(refused.value) for name in ("TAILRACE_STORE_URL", "TAILRACE_SPARK_MASTER", master, url))


@pytest.mark.parametrize(
    ("master", "url"),
    [
        ("local[*]", ""),
        ("local-cluster[2,1,1024]", "http://127.0.0.1:8000"),
        ("spark://localhost:7077", ""),
        (CLUSTER, "http://store.example:8000"),
        (CLUSTER, "https://dynamodb.eu-central-1.amazonaws.com"),
    ],
)
def test_a_store_that_executors_reach_is_taken(master, url):
    check_store_is_reachable(read_settings({"TAILRACE_STORE_URL": url}), master=master)
