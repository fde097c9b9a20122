"""Readers in processes of their own: whom they answer, over what, and when they do not start."""

import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime

import pytest

from serving.auth.api_keys import add_key
from tests.certificate import make_certificate
from tests.serving.processes import served


@pytest.mark.usefixtures("store")
def test_a_reader_with_keys_answers_their_holders_and_writes_a_line_for_others(settings, tmp_path):
    path = tmp_path / "keys.json"
    key, _ = add_key(path, "ranker", scopes=["read:ranker"], created=datetime.now(UTC), expires=None)
    with served(settings, tmp_path, workers=1, local=False, READER_KEYS=str(path)) as reader:
        assert reader.get("/features")[0] == 401
        request = urllib.request.Request(reader.address + "/features", headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert "ranker" in json.load(answer)["services"]
        with socket.create_connection(("127.0.0.1", reader.port), timeout=30) as garbled:
            garbled.sendall(b"GET /health HTTP/1.1\r\nAuthorization: Bearer " + key.encode() + b"\x00\r\n\r\n")
            assert b"400" in garbled.recv(100)

    assert "was answered 400" in reader.errors
    assert key[-20:] not in reader.errors
    [audit] = [json.loads(one) for one in reader.errors.splitlines() if one.startswith("{")]
    assert audit["why"].startswith("nobody is named")


@pytest.mark.parametrize(
    ("options", "said"),
    [([], "serving: nobody could ask this reader"), (["--local", "--host", "0.0.0.0"], "--local answ")],
)
def test_a_reader_that_everybody_could_ask_is_not_started(settings, options, said):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    environment["TAILRACE_HOME"] = str(settings.home)
    command = [sys.executable, "-m", "serving", "--port", "0", *options]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (1, "")
    [told] = done.stderr.splitlines()
    assert said in told


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_headers_that_do_not_end_are_cut_after_ten_seconds(settings, tmp_path):
    with (
        served(settings, tmp_path, workers=1) as reader,
        socket.create_connection(("127.0.0.1", reader.port), timeout=30) as slow,
    ):
        slow.sendall(b"GET /health HTTP/1.1\r\n")

        assert slow.recv(1) == b""


@pytest.mark.usefixtures("store")
def test_a_reader_with_a_certificate_tells_an_address_of_https_whoever_takes_the_connection(settings, tmp_path):
    files = make_certificate(tmp_path)
    certificate, key = str(files.certificate), str(files.key)
    with served(settings, tmp_path, READER_TLS_CERT=certificate, READER_TLS_KEY=key) as reader:
        assert reader.address.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=files.certificate)
        hanging, _ = reader.workers()
        hanging.suspend()  # so that the other one takes what waits for it
        try:
            for _ in range(10):
                with urllib.request.urlopen(reader.address + "/health", timeout=10, context=trusting) as answer:
                    assert json.load(answer) == {"status": "alive"}
        finally:
            hanging.resume()
