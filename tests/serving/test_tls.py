"""HTTPS with a certificate of the test's own."""

import ipaddress
import socket
import ssl
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from serving import ServingError, run
from serving.connections import CarefulSite
from serving.tls import tls_context
from settings import TlsSettings, read_settings


def make_certificate(folder, name="tls", *, encryption=None):
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    files = TlsSettings(certificate=folder / f"{name}.crt", key=folder / f"{name}.key")
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    return files


@pytest.fixture
def served(runner, tmp_path):
    """A site that serves HTTPS, and how a client trusts it."""
    files = make_certificate(tmp_path)

    async def health(_):
        return web.json_response({"status": "alive"})

    async def listen():
        app = web.Application()
        app.router.add_get("/health", health)
        site = web.AppRunner(app, access_log=None)
        await site.setup()
        await CarefulSite(site, socket.create_server(("127.0.0.1", 0)), tls=tls_context(files)).start()
        return site

    site = runner.run(listen())
    yield site.addresses[0][1], ssl.create_default_context(cafile=files.certificate)
    runner.run(site.cleanup())


def test_an_answer_comes_over_https(runner, served):
    port, trusting = served

    async def ask():
        url = f"https://127.0.0.1:{port}/health"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=trusting) as answer:
            return answer.status, await answer.json()

    assert runner.run(ask()) == (200, {"status": "alive"})


def test_the_oldest_version_that_is_spoken_is_tls_1_2(tmp_path):
    context = tls_context(make_certificate(tmp_path))

    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_without_a_certificate_there_is_no_https():
    assert tls_context(None) is None


def broken(folder, how):
    files = make_certificate(folder)
    if how == "no certificate":
        files.certificate.unlink()
    elif how == "a folder":
        files.key.unlink()
        files.key.mkdir()
    elif how == "another's key":
        make_certificate(folder, "other").key.replace(files.key)
    elif how == "no PEM":
        files.certificate.write_text("certificate")
    elif how == "a password":
        files = make_certificate(folder, encryption=BestAvailableEncryption(b"secret"))
    return files


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no certificate", r"tls\.crt cannot be read, No such file"),
        ("a folder", r"tls\.key cannot be read, Is a directory"),
        ("another's key", r"tls\.crt and .*tls\.key are no certificate with its own key.*MISMATCH"),
        ("no PEM", r"tls\.crt and .*tls\.key are no certificate with its own key"),
        ("a password", r"tls\.crt and .*tls\.key are no certificate with its own key"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_before_anything_starts(tmp_path, how, said):
    files = broken(tmp_path, how)
    variables = {"TAILRACE_READER_TLS_CERT": str(files.certificate), "TAILRACE_READER_TLS_KEY": str(files.key)}

    with pytest.raises(ServingError, match=said):
        run(read_settings(variables), port=0, workers=1, local=True)
