"""Views of the lane `direct`: whoever has the values writes them to the store."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from tailrace.definitions.view import DIRECT, FeatureView
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column


@dataclass(frozen=True, kw_only=True)
class DirectView(FeatureView):
    """A view whose values are written, by the write endpoint or from Spark."""

    takes_writes: ClassVar[bool] = True

    lane: str = DIRECT

    @cached_property
    def features(self) -> tuple[Column, ...]:
        return self.written_features

    @property
    def inputs(self) -> tuple[str, ...]:
        return ()

    @property
    def why_no_past(self) -> str:
        return "it is written directly, and has the values that were written"

    def unready(self, pushed: str | None) -> str:  # noqa: ARG002 -- each value is decoded by the schema of its header
        """Nothing: what somebody declares says nothing of values that others wrote."""
        return ""

    def check_fields(self) -> None:
        """A view that is written says what is written, and nothing of how to compute it."""
        here = f"view {self.name!r}"
        computed = ("aggregations", "transform", "transform_features", "changed_keys", "online_when", "expectations")
        for name in self.given(computed):
            raise DefinitionError(f"{here}, field {name!r}: values of the lane {DIRECT} are written, not computed")
        if not self.written_features:
            raise DefinitionError(f"{here}, field 'written_features': say what is written")
