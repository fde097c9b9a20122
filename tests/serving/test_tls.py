"""HTTPS with a certificate of the test's own."""

import socket
import ssl

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from serving.common.messages import ServingError
from serving.process.client_connections import CarefulSite
from serving.process.sockets import tls_context
from serving.process.supervisor import run_reader
from tailrace.settings import read_settings
from tests.certificate import make_certificate


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
        ("another's key", r"tls\.crt and .*tls\.key are not a certificate with its own key.*MISMATCH"),
        ("no PEM", r"tls\.crt and .*tls\.key are not a certificate with its own key"),
        ("a password", r"tls\.crt and .*tls\.key are not a certificate with its own key"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_before_anything_starts(tmp_path, how, said):
    files = broken(tmp_path, how)
    variables = {"TAILRACE_READER_TLS_CERT": str(files.certificate), "TAILRACE_READER_TLS_KEY": str(files.key)}

    with pytest.raises(ServingError, match=said):
        run_reader(read_settings(variables), port=0, workers=1, local=True)
