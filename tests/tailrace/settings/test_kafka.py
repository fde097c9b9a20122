"""The properties of Kafka's clients: read as Java reads them, and refused without telling a secret."""

from pathlib import Path

import pytest

from tailrace.settings import SettingsError, read_settings
from tailrace.settings.options import OURS, read_properties

JAVA = """\
# How to log in.
! And with what.

security.protocol=SASL_SSL
sasl.mechanism : SCRAM-SHA-512
sasl.jaas.config = org.example.LoginModule required \\
    username="tail=race" \\
    password="a:b #c\\\\d";
ssl.truststore.location /certificates/broker.pem
ssl.endpoint.identification.algorithm=
client.id=caf\\u00e9\\ttail\\=
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "client.properties"
        file.write_text(text, encoding="iso-8859-1")
        return file

    return write


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_properties_are_read_as_java_reads_them(write, end):
    assert read_properties(write(JAVA.replace("\n", end))) == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": 'org.example.LoginModule required username="tail=race" password="a:b #c\\d";',
        "ssl.truststore.location": "/certificates/broker.pem",
        "ssl.endpoint.identification.algorithm": "",
        "client.id": "café\ttail=",
    }


def test_a_file_that_ends_within_a_property_is_read_to_its_end(write):
    assert read_properties(write("a=1\nb=\\\n  2\\")) == {"a": "1", "b": "2"}


def test_without_a_file_there_are_no_properties():
    assert read_settings({}).stream.properties is None
    assert read_properties(None) == {}


def test_the_file_is_a_path_of_the_settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = read_settings({"TAILRACE_KAFKA_PROPERTIES": "client.properties"})
    assert settings.stream.properties == tmp_path / "client.properties"


@pytest.mark.parametrize("line", ["secret", "=secret", "secret\\\n", "a/secret=1", "secret\\=1"])
def test_a_line_that_is_no_property_is_named_and_not_shown(write, line):
    file = write(f"a=1 \\\n 2\n\n{line}\n")
    with pytest.raises(SettingsError, match=f"^{file}, line 4 is not a property") as refused:
        read_properties(file)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", OURS)
def test_what_tailrace_sets_itself_is_refused_by_name(write, name):
    with pytest.raises(SettingsError, match=rf"line 2: {name} is not to be set there") as refused:
        read_properties(write(f"a=1\n{name}=secret\n"))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("file", [Path("/nowhere/client.properties"), Path("/")])
def test_a_file_that_cannot_be_read_is_named(file):
    with pytest.raises(SettingsError, match=f"^TAILRACE_KAFKA_PROPERTIES={file} cannot be read: "):
        read_properties(file)
