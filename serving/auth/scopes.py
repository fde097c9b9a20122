"""What scopes allow: `read:SERVICE` and `read:*`, `write:VIEW` and `write:*`, `metrics`."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from serving.auth.identity import Identity, NotAllowed
from serving.common.request import FeatureRequest
from tailrace.definitions import Definitions

READ_ALL, WRITE_ALL, METRICS = "read:*", "write:*", "metrics"
SCOPE = re.compile(r"(read|write):(\*|[a-z][a-z0-9_]*)|metrics")
COMBINATIONS_KEPT = 1024


class ReadRules:
    """Which features may be read with which scopes: those of the services that `read:SERVICE` names."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._readable = lru_cache(maxsize=COMBINATIONS_KEPT)(self._make)

    def check(self, identity: Identity, asked: FeatureRequest) -> None:
        """Raises `NotAllowed` for a service without its scope, and for a feature that is in no service with one."""
        if READ_ALL in identity.scopes:
            return
        if asked.service is not None:
            require(identity, f"read:{asked.service}", READ_ALL)
            return
        readable = self._readable(identity.scopes)
        if not readable.issuperset(asked.features):
            beyond = ", ".join(name for name in asked.features if name not in readable)
            raise NotAllowed(
                f"{beyond}: in no feature service that {identity.name} may read, which takes {READ_ALL}",
                name=identity.name,
                wanted=f"read {beyond}",
            )

    def _make(self, scopes: frozenset[str]) -> frozenset[str]:
        """Every name that may be asked for: features, on-demand ones, and views all of whose features may be read."""
        services = self._definitions.services.values()
        readable = {one for service in services if f"read:{service.name}" in scopes for one in service.features}
        readable = set(self._expanded(readable))
        whole = {
            view.name
            for view in self._definitions.views.values()
            if readable.issuperset(f"{view.name}:{feature}" for feature in view.feature_names)
        }
        return frozenset(readable | whole)

    def _expanded(self, references: Iterable[str]) -> Iterator[str]:
        for reference in references:
            view = self._definitions.views.get(reference)
            if view is None:
                yield reference
            else:
                yield from (f"{reference}:{feature}" for feature in view.feature_names)


def require_write(identity: Identity, view: str) -> None:
    """Raises `NotAllowed` unless the identity may write values of the view."""
    require(identity, f"write:{view}", WRITE_ALL)


def require(identity: Identity, *scopes: str) -> None:
    """Raises `NotAllowed` unless the identity has one of the scopes."""
    if identity.scopes.isdisjoint(scopes):
        wanted = " or ".join(scopes)
        raise NotAllowed(f"{identity.name} lacks the scope {wanted}", name=identity.name, wanted=wanted)
