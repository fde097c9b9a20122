"""What each route takes: nothing, an identity, or a scope. A route that is not named here is answered to nobody."""

from enum import Enum, auto

from aiohttp import web


class Rule(Enum):
    """Who may use a route. `METRICS` takes that scope; with `BY_BODY` the handler decides.

    It calls `check_read` or `check_write` before it does anything.
    """

    OPEN = auto()
    IDENTIFIED = auto()
    BY_BODY = auto()
    METRICS = auto()
    NOBODY = auto()


RULES: dict[tuple[str, str], Rule] = {
    ("POST", "/get-online-features"): Rule.BY_BODY,
    ("POST", "/v1/write"): Rule.BY_BODY,
    ("GET", "/features"): Rule.IDENTIFIED,
    ("GET", "/openapi.json"): Rule.IDENTIFIED,
    ("GET", "/health"): Rule.OPEN,
    ("GET", "/ready"): Rule.OPEN,
    ("GET", "/metrics"): Rule.METRICS,
}


def rule_of(match: web.UrlMappingMatchInfo) -> Rule:
    """The rule of the route that a request found; known callers learn that it does not exist."""
    if match.http_exception is not None:
        return Rule.IDENTIFIED
    resource = match.route.resource
    return Rule.NOBODY if resource is None else rule(match.route.method, resource.canonical)


def rule(method: str, path: str) -> Rule:
    """HEAD is a GET whose body stays here."""
    return RULES.get(("GET" if method == "HEAD" else method, path), Rule.NOBODY)
