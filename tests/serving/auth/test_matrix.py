"""Who may do what: every role, on every route, for every service, view and on-demand feature there is.

What is expected is written down here by hand. A route, service or view that is not named makes the test fail.
"""

from dataclasses import replace

import pytest

from serving.app import make_app
from serving.auth.policy import RULES, Rule, rule
from serving.telemetry.metrics import Counters, SharedMetrics
from tailrace.definitions import FeatureService, load_definitions
from tailrace.settings import read_settings
from tailrace.store.direct.log import Log
from tests.serving.auth.conftest import bearer
from tests.serving.write.conftest import RELEVANCE, of


def service(name, *features):
    return FeatureService(name=name, features=features, owner="tests", description="")


SHIPPED = load_definitions()
MORE = {
    "documents": service("documents", "document_activity", "document_profile:owner", "edit_trend"),
    "people": service("people", "actor_activity"),
}
WRITTEN = {name: replace(RELEVANCE, name=name) for name in ("relevance", "toxicity")}
DEFINED = replace(SHIPPED, services=SHIPPED.services | MORE, views=SHIPPED.views | WRITTEN)

VIEWS = {"document_activity", "actor_activity", "actor_document_affinity", "document_profile", "document_relevance"}
TAKES_WRITES = {"document_relevance", *WRITTEN}
ON_DEMAND = {"hours_since_last_edit", "edit_trend"}
# In no service: for those who may read all.
STREAMED = {"actor_document_recent", "document_recent"}
WINDOWS = {"opens_15m", "opens_1h", "recent_events_15m", "recent_distinct_actors_15m"}
PARTS = {"document_profile:owner", "document_profile:size_bytes"}
READABLE = {
    "ranker": VIEWS | ON_DEMAND | PARTS,
    "documents": {"document_activity", "document_profile:owner", "edit_trend"},
    "people": {"actor_activity"},
}

# By route: what a caller without credentials gets, with an identity that has no scope, and with the scope for metrics.
ROUTES = {
    ("GET", "/health"): (200, 200, 200),
    ("HEAD", "/health"): (200, 200, 200),
    ("GET", "/ready"): (503, 503, 503),  # nothing was pushed
    ("HEAD", "/ready"): (503, 503, 503),
    ("GET", "/features"): (401, 200, 200),
    ("HEAD", "/features"): (401, 200, 200),
    ("GET", "/openapi.json"): (401, 200, 200),
    ("HEAD", "/openapi.json"): (401, 200, 200),
    ("GET", "/metrics"): (401, 403, 200),
    ("HEAD", "/metrics"): (401, 403, 200),
    ("POST", "/get-online-features"): (401, 403, 403),
    ("POST", "/v1/write"): (401, 400, 403),  # the one who may write all is told that the lane is another
}
ROLES = {name: (f"read:{name}",) for name in READABLE} | {
    "two services": ("read:documents", "read:people"),
    "reads all": ("read:*",),
    "no scope": ("metrics",),
    "writes all": ("write:*", "write:document_activity"),
    "writes one": ("write:relevance", "read:people"),
}


def test_every_route_service_view_and_on_demand_feature_is_named_here():
    settings = read_settings({})
    app = make_app(
        DEFINED,
        url="",
        region="",
        table="",
        limits=settings.reader,
        local=True,
        counters=Counters(SharedMetrics(1)),
        direct=Log(folder=settings.home, landing=""),
    )

    routes = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    assert routes == set(ROUTES)
    assert len(list(app.router.routes())) == len(ROUTES)
    assert {route: rule(*route) for route in routes if rule(*route) is Rule.NOBODY} == {}
    assert set(DEFINED.services) == set(READABLE)
    assert set(DEFINED.views) == VIEWS | STREAMED | set(WRITTEN)
    assert set(DEFINED.on_demand) == ON_DEMAND | WINDOWS


def test_every_rule_has_its_route():
    assert set(RULES) <= set(ROUTES)


@pytest.fixture
def ask(guarded, keys):
    """Ask as one of the roles; the status alone."""
    held = {role: keys.add(role.replace(" ", "-"), *scopes) for role, scopes in ROLES.items()}
    reader = guarded(keys=keys, defined=DEFINED)

    def ask(role, method, path, **body):
        headers = {} if role is None else bearer(held[role])
        request = {"json": {"entities": {"document_id": ["d1"], "actor_id": ["a1"]}} | body} if body else {}

        async def status():
            async with reader.client.request(method, path, headers=headers, **request) as answer:
                return answer.status

        return reader.runner.run(status())

    return ask


def test_routes_take_what_they_say(ask):
    body = {"feature_service": "ranker"}
    expected, found = {}, {}
    for (method, path), statuses in ROUTES.items():
        for role, status in zip((None, "writes all", "no scope"), statuses, strict=True):
            expected[role, method, path] = status
            sent = write_of("document_activity") if path == "/v1/write" else body if method == "POST" else {}
            found[role, method, path] = ask(role, method, path, **sent)

    assert found == expected


@pytest.mark.parametrize("role", [None, *ROLES])
def test_a_role_reads_what_its_services_have_and_nothing_else(ask, role):
    several = {"two services": {"documents", "people"}, "reads all": set(READABLE), "writes one": {"people"}}
    services = several.get(role, {role} & set(READABLE))
    names = set().union(*(READABLE[one] for one in services))
    refused = 401 if role is None else 403
    expected, found = {}, {}
    for one in READABLE:
        expected[one] = 200 if one in services else refused
        found[one] = ask(role, "POST", "/get-online-features", feature_service=one)
    names |= STREAMED | WINDOWS if role == "reads all" else set()
    for one in VIEWS | ON_DEMAND | PARTS | STREAMED | WINDOWS:
        expected[one] = 200 if one in names else refused
        found[one] = ask(role, "POST", "/get-online-features", features=[one])
    expected["all"] = 200 if names >= VIEWS | ON_DEMAND else refused
    found["all"] = ask(role, "POST", "/get-online-features", features=sorted(VIEWS | ON_DEMAND))

    assert found == expected


def write_of(view):
    judged = {"keys": {"document_id": "d1"}, "values": {"relevance": 0.5, "judged_by": "m1"}}
    return {"view": view, "entities": [judged if view == "document_relevance" else of("d1")]}


@pytest.mark.parametrize("role", [None, *ROLES])
def test_a_role_writes_the_views_that_its_scopes_name_and_nothing_else(ask, role):
    may = {"writes all": set(DEFINED.views), "writes one": {"relevance"}}.get(role, set())
    refused = 401 if role is None else 403
    expected = {view: (200 if view in TAKES_WRITES else 400) if view in may else refused for view in DEFINED.views}

    assert {view: ask(role, "POST", "/v1/write", **write_of(view)) for view in DEFINED.views} == expected


def test_what_is_not_defined_is_told_to_those_who_may_read_all(ask):
    for body in ({"feature_service": "nobody"}, {"features": ["nowhere"]}):
        assert ask("reads all", "POST", "/get-online-features", **body) == 400
        assert ask("ranker", "POST", "/get-online-features", **body) == 403
