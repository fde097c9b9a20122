"""Rules of routes that the reader itself does not have yet, behind the same door."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from serving.auth.policy import GUARD, RULES, Guard, Rule, admit, check_write
from serving.http.responses import answer_errors
from tailrace.settings import AccessSettings
from tests.serving.auth.conftest import bearer


@pytest.fixture
def key(keys):
    return keys.add("ranker", "read:ranker")


SCOPES = {"all": "read:*", "metrics": "metrics", "writer": "write:relevance", "writes-all": "write:*"}


@pytest.fixture
def others(keys):
    return {role: keys.add(role, scope) for role, scope in SCOPES.items()}


@pytest.fixture
def small(runner, keys, key, others, monkeypatch):
    """A reader with routes of its own behind the same door."""
    monkeypatch.setattr("serving.auth.policy.RULES", RULES | {("POST", "/write/{view}"): Rule.BY_BODY})

    async def answer(_):
        return web.json_response({})

    async def write(request):
        check_write(request, request.match_info["view"])
        return web.json_response({})

    async def listen():
        app = web.Application(middlewares=[answer_errors, admit])
        app[GUARD] = guard = Guard(AccessSettings(keys=keys.path, issuer=None), local=False)
        app.cleanup_ctx.append(guard.keep_fresh)
        app.router.add_get("/metrics", answer)
        app.router.add_get("/forgotten", answer)
        app.router.add_post("/write/{view}", write)
        app.router.add_post("/get-online-features", answer)  # which does not check what is asked for
        client = TestClient(TestServer(app))
        await client.start_server()
        return client

    client = runner.run(listen())

    def ask(method, path, **headers):
        async def status():
            async with client.request(method, path, **headers) as answer:
                return answer.status

        return runner.run(status())

    yield ask
    runner.run(client.close())


def test_metrics_take_their_scope(small, others):
    assert small("GET", "/metrics") == 401
    assert small("GET", "/metrics", headers=bearer(others["all"])) == 403
    assert small("GET", "/metrics", headers=bearer(others["metrics"])) == 200


def test_values_of_a_view_are_written_by_those_with_its_scope(small, others):
    def statuses(view):
        return {role: small("POST", f"/write/{view}", headers=bearer(key)) for role, key in others.items()}

    assert small("POST", "/write/relevance") == 401
    assert statuses("relevance") == {"all": 403, "metrics": 403, "writer": 200, "writes-all": 200}
    assert statuses("other") == {"all": 403, "metrics": 403, "writer": 403, "writes-all": 200}


def test_a_route_without_a_rule_is_answered_to_nobody(small, key):
    assert small("GET", "/forgotten") == 401
    assert small("GET", "/forgotten", headers=bearer(key)) == 403


def test_an_answer_that_its_handler_gives_without_a_look_at_the_scopes_is_withheld(small, key):
    assert small("POST", "/get-online-features", headers=bearer(key)) == 403
