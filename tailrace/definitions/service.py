"""Feature services: what one ranker asks for, under one name."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FeatureService:
    """A named list of `view` (all its features), `view:feature` and on-demand features."""

    name: str
    features: tuple[str, ...]
    owner: str
    description: str
