"""Who may ask the reader, and with which certificate it answers, as settings."""

import pytest

from tailrace.settings import AccessSettings, IssuerSettings, SettingsError, read_settings

ISSUER = {"TAILRACE_READER_ISSUER": "https://issuer.example", "TAILRACE_READER_AUDIENCE": "tailrace"}


def test_nobody_may_ask_the_reader_unless_it_is_said_who():
    assert read_settings({}).reader.access == AccessSettings(keys=None, issuer=None)
    assert read_settings({}).reader.tls is None


def test_an_issuer_may_tell_itself_where_its_keys_are():
    issuer = read_settings(ISSUER).reader.access.issuer

    assert issuer == IssuerSettings(url="https://issuer.example", audience="tailrace", jwks=None)


@pytest.mark.parametrize(
    "variables",
    [
        {"TAILRACE_READER_ISSUER": "https://issuer.example"},
        {"TAILRACE_READER_AUDIENCE": "tailrace"},
        {"TAILRACE_READER_JWKS": "https://issuer.example/jwks"},
    ],
)
def test_an_issuer_without_an_audience_is_refused(variables):
    with pytest.raises(SettingsError, match="TAILRACE_READER_ISSUER and TAILRACE_READER_AUDIENCE go together"):
        read_settings(variables)


@pytest.mark.parametrize("name", ["TAILRACE_READER_ISSUER", "TAILRACE_READER_JWKS"])
@pytest.mark.parametrize(
    "url",
    ["http://issuer.example", "issuer.example", "file:///keys", "https://", "https://[::1", "http://127.1.example"],
)
def test_an_issuer_whose_keys_could_be_changed_on_the_way_is_refused(name, url):
    with pytest.raises(SettingsError, match=f"^{name}="):
        read_settings(ISSUER | {name: url})


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/realm", "http://localhost:9000", "http://[::1]:9000"])
def test_an_issuer_on_this_machine_needs_no_certificate(url):
    issuer = read_settings(ISSUER | {"TAILRACE_READER_ISSUER": url}).reader.access.issuer

    assert issuer is not None
    assert issuer.url == url


@pytest.mark.parametrize("name", ["TAILRACE_READER_TLS_CERT", "TAILRACE_READER_TLS_KEY"])
def test_a_certificate_without_its_key_is_refused(name):
    with pytest.raises(SettingsError, match="TAILRACE_READER_TLS_CERT and TAILRACE_READER_TLS_KEY go together"):
        read_settings({name: "/tls.pem"})


@pytest.mark.parametrize("name", ["TAILRACE_READER_KEYS", "TAILRACE_READER_TLS_CERT"])
def test_files_of_the_reader_are_made_absolute(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    variables = {"TAILRACE_READER_TLS_CERT": "/tls.crt", "TAILRACE_READER_TLS_KEY": "/tls.key", name: "mine"}

    reader = read_settings(variables).reader

    assert reader.tls is not None
    assert tmp_path / "mine" in (reader.access.keys, reader.tls.certificate)
