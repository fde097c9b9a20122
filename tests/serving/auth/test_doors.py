"""The door itself: what counts as a credential, and paths that try to slip by."""

import asyncio

import pytest
from yarl import URL

from serving.common.messages import ServingError
from serving.process.supervisor import run_reader
from tailrace.settings import AccessSettings, read_settings
from tests.serving.auth.conftest import bearer

NOBODY = AccessSettings(keys=None, issuer=None)


def answer_to(reader_of_keys, raw):
    """Send bytes as they are; the status of the answer, and all of it."""

    async def send():
        server = reader_of_keys.client.server
        incoming, outgoing = await asyncio.open_connection(server.host, server.port)
        outgoing.write(raw)
        answer = await asyncio.wait_for(incoming.read(), 20)
        outgoing.close()
        return int(answer.split(b" ")[1]), answer

    return reader_of_keys.runner.run(send())


def get(path, *headers):
    lines = [b"GET " + path + b" HTTP/1.1", b"Host: reader", b"Connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_written_as_anybody_likes(reader_of_keys, key, scheme):
    assert reader_of_keys.send("GET", "/features", headers={"Authorization": f"{scheme} {key}"})[0] == 200


@pytest.mark.parametrize(
    "before", ["", "Bearer", "Bearer ", "Basic ", "Bearer,", "Bearer:", "Bearer\t", "Bearer Bearer "]
)
def test_what_is_no_bearer_credential_is_refused(reader_of_keys, key, before):
    sent = before + ("" if before in {"Bearer", "Bearer "} else key)

    assert reader_of_keys.send("GET", "/features", headers={"Authorization": sent})[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        [b"Authorization: Bearer \xff\xfe"],
        [b"Authorization: Bearer trk_\xff"],
        ["Authorization: Bearer ключ".encode()],
        [b"Authorization: \xe2\x84\xaa"],
        [b"X-Api-Key: KEY"],
        [b"Proxy-Authorization: Bearer KEY"],
        [b"Cookie: Authorization=Bearer KEY"],
        [b"Authorization: Bearer KEY, Bearer KEY"],
        [b"Authorization: Bearer KEY\xc2\xa0"],
    ],
    ids=range(9),
)
def test_a_key_anywhere_else_opens_nothing(reader_of_keys, key, headers):
    sent = [header.replace(b"KEY", key.encode()) for header in headers]

    status, _ = answer_to(reader_of_keys, get(b"/features", *sent))

    assert status == 401


def test_two_credentials_open_nothing(reader_of_keys, key):
    header = f"Authorization: Bearer {key}".encode()

    status, _ = answer_to(reader_of_keys, get(b"/features", header, header))

    assert status in {400, 401}


PATHS = ["//features", "/features/", "/FEATURES", "/health/../features", "/health%2f..%2ffeatures", "/%66eatures"]
PATHS += ["/features%00", "/health/", "/healthx", "/", "/*", "/nowhere?token=x", "/features"]
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PROPFIND")


def test_without_a_credential_no_path_and_no_method_tells_anything(reader_of_keys):
    async def statuses():
        base, found = str(reader_of_keys.client.make_url("")).rstrip("/"), {}
        for method in METHODS:
            for path in PATHS:
                async with reader_of_keys.client.session.request(method, URL(base + path, encoded=True)) as answer:
                    found[method, path] = answer.status
        return found

    assert {told: status for told, status in reader_of_keys.runner.run(statuses()).items() if status != 401} == {}


@pytest.mark.parametrize("target", [b"*", b"http://elsewhere/features", b"/\xff\xfe", b"http://elsewhere"])
def test_a_target_that_is_no_path_tells_nothing(reader_of_keys, target):
    assert answer_to(reader_of_keys, get(target))[0] in {400, 401}


def test_a_known_identity_is_told_what_is_not_there(reader_of_keys, key):
    status, answer = reader_of_keys.send("GET", "/nowhere", headers=bearer(key))

    assert (status, "/nowhere" in answer["detail"]) == (404, True)
    assert reader_of_keys.send("GET", "/get-online-features", headers=bearer(key))[0] == 405


def test_health_and_readiness_need_no_credential_nor_a_good_one(reader_of_keys):
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        assert reader_of_keys.send("GET", "/health", headers=headers)[0] == 200
        assert reader_of_keys.send("GET", "/ready", headers=headers)[0] == 503


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, "Bearer"),
        (bearer("trk_x_y"), 'Bearer error="invalid_token"'),
        (bearer("a.b.c"), 'Bearer error="invalid_token"'),
    ],
)
def test_a_401_says_how_to_ask(reader_of_keys, headers, challenge):
    async def answer():
        async with reader_of_keys.client.get("/features", headers=headers) as told:
            return told.status, told.headers["WWW-Authenticate"], list(await told.json())

    assert reader_of_keys.runner.run(answer()) == (401, challenge, ["detail"])


def test_a_body_is_not_read_of_somebody_unknown(reader_of_keys):
    body = b"{" * 2**19

    assert reader_of_keys.send("POST", "/get-online-features", data=body)[0] == 401


def test_keys_and_tokens_are_taken_side_by_side_and_neither_where_it_is_not_set(guarded, keys, key, issuer):
    token, keyed, tokened = issuer.token(), guarded(keys=keys), guarded(issuer=issuer.settings)
    both = guarded(keys=keys, issuer=issuer.settings)

    def status(reader_of_keys, credential):
        return reader_of_keys.send("GET", "/features", headers=bearer(credential))[0]

    assert [status(keyed, key), status(keyed, token)] == [200, 401]
    assert [status(tokened, key), status(tokened, token)] == [401, 200]
    assert [status(both, key), status(both, token)] == [200, 200]


def test_a_reader_that_nobody_could_ask_is_not_started():
    with pytest.raises(ServingError, match=r"TAILRACE_READER_KEYS.*TAILRACE_READER_ISSUER.*--local"):
        run_reader(read_settings({}), port=0, workers=1)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.0.2.1", "reader.example", "127.0.0.1.example", "localhost."]
)
def test_a_local_reader_listens_on_loopback_alone(host):
    with pytest.raises(ServingError, match=r"--local answers everybody.*127\.0\.0\.1"):
        run_reader(read_settings({}), port=0, workers=1, host=host, local=True)


@pytest.mark.parametrize(("text", "said"), [(None, "tailrace keys add"), ("{", "cannot be read")])
def test_a_reader_whose_keys_cannot_be_read_is_not_started(tmp_path, text, said):
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ServingError, match=said):
        run_reader(read_settings({"TAILRACE_READER_KEYS": str(path)}), port=0, workers=1)


def test_a_door_without_keys_and_without_an_issuer_is_shut(start_reader, store, definitions, key):
    reader_of_keys = start_reader(definitions, local=False, access=NOBODY)

    for headers in ({}, bearer(key), bearer("a.b.c")):
        assert reader_of_keys.send("GET", "/features", headers=headers)[0] == 401
