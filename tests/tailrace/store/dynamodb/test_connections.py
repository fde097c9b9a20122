"""Connections to a server that answers as it is told, byte by byte where that matters."""

import asyncio
import ssl

import pytest

from tailrace.store.dynamodb import connections
from tailrace.store.dynamodb.connections import Connections
from tailrace.store.pace import Limits
from tests.certificate import make_certificate

WHOLE = b"HTTP/1.1 200 OK\r\nDate: Sun, 01 Mar 2026 09:00:00 GMT\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"


class Site:
    """Answers each request with the next of its answers, and counts connections and requests."""

    def __init__(self, *answers, tls=None):
        self.answers = list(answers)
        self.opened = 0
        self.requests = []
        self._tls = tls
        self._writers = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader, writer):
        self.opened += 1
        self._writers.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            self.requests.append((head, await reader.readexactly(length)))
            answer = self.answers.pop(0)
            if answer is None:
                continue
            for part in answer if isinstance(answer, list) else [answer]:
                writer.write(part)
                await asyncio.sleep(0.01)
            if answer == b"" or (isinstance(answer, list) and answer[-1] == b""):
                writer.close()
                return


def exchange(*answers, posts, at_once=False, **limits):
    """What so many requests brought, bodies or errors, and the site that was asked."""

    async def go():
        async with Site(*answers) as site:
            pool = Connections(site.url, Limits(**limits))

            async def post(number):
                try:
                    return await pool.post({"X-Number": str(number)}, b"asked")
                except OSError as error:
                    return error

            if at_once:
                told = await asyncio.gather(*map(post, range(posts)))
            else:
                told = [await post(number) for number in range(posts)]
            await pool.close()
            return told, site

    return asyncio.run(go())


def test_an_answer_is_read_however_it_comes_and_its_connection_used_again():
    in_bytes = [WHOLE[i : i + 1] for i in range(len(WHOLE))]

    told, site = exchange(WHOLE, in_bytes, CHUNKED, posts=3)

    assert [(one.status, one.body) for one in told] == [(200, b"body")] * 3
    assert [one.date for one in told] == ["Sun, 01 Mar 2026 09:00:00 GMT"] * 2 + [""]
    assert site.opened == 1
    head, body = site.requests[0]
    assert head.startswith(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nX-Number: 0\r\n" in head
    assert body == b"asked"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([b""], "closed before the answer was whole"),
        ([WHOLE[:-1], b""], "closed before the answer was whole"),
        (b"SSH-2.0-what\r\n\r\n", "the answer is not HTTP"),
    ],
)
def test_half_an_answer_is_an_error_and_the_next_request_gets_a_connection_of_its_own(answer, said):
    (failure, after), site = exchange(answer, WHOLE, posts=2)

    assert isinstance(failure, ConnectionError)
    assert said in str(failure)
    assert after.body == b"body"
    assert site.opened == 2


@pytest.mark.parametrize("more", [b"Connection: close\r\n", b""], ids=["that closes", "with bytes behind it"])
def test_a_connection_that_ends_or_says_too_much_is_not_used_again(more):
    answer = WHOLE.replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n") + (b"" if more else WHOLE)

    told, site = exchange(answer, WHOLE, posts=2)

    assert [one.body for one in told] == [b"body"] * 2
    assert site.opened == 2


def test_an_answer_that_is_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(connections, "ANSWER_BYTES", 3)

    (failure,), _ = exchange(WHOLE, posts=1)

    assert "longer than 3 bytes" in str(failure)


def test_an_answer_that_does_not_come_in_time_costs_its_connection():
    (failure, after), site = exchange(None, WHOLE, posts=2, exchange_seconds=0.3)

    assert isinstance(failure, TimeoutError)
    assert after.body == b"body"
    assert site.opened == 2


def test_no_more_connections_are_opened_than_there_may_be():
    told, site = exchange(*[WHOLE] * 12, posts=12, at_once=True, connections=3)

    assert [one.body for one in told] == [b"body"] * 12
    assert site.opened == 3


def test_what_finds_no_free_connection_in_its_time_is_not_sent():
    async def go():
        async with Site(None, WHOLE) as site:
            pool = Connections(site.url, Limits(connections=1))
            first = asyncio.create_task(pool.post({}, b"asked"))
            await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                await pool.post({}, b"late", within=0.01)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            after = await pool.post({}, b"asked", within=10)
            await pool.close()
            return after, [body for _, body in site.requests]

    after, bodies = asyncio.run(go())

    assert after.body == b"body"
    assert b"late" not in bodies


def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch):
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.0)

    _, site = exchange(WHOLE, WHOLE, posts=2)

    assert site.opened == 2


def test_https_is_spoken_with_those_whose_certificate_is_trusted(tmp_path, monkeypatch):
    files = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.certificate, files.key)

    async def go():
        async with Site(WHOLE, tls=tls) as site:
            pool = Connections(site.url, Limits())
            try:
                return (await pool.post({}, b"")).body
            finally:
                await pool.close()

    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(go())
    monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))

    assert asyncio.run(go()) == b"body"
