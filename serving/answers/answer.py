"""What was read for a request, before it takes a form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.common.request import FeatureRequest
from serving.read.columns import Column
from serving.read.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was read for one request: a column for each of the plan's references, and the facts about each view."""

    asked: FeatureRequest
    plan: Plan
    columns: Mapping[str, Column]
    views: Mapping[str, Any]

    @property
    def named(self) -> Iterator[tuple[str, Column]]:
        """The features asked for, in their order and as they are called in the answer."""
        for name, reference in zip(self.plan.names, self.plan.references, strict=True):
            yield name, self.columns[reference]
