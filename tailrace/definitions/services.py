"""On-demand features and feature services: what rankers ask for, with the features of views."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tailrace.definitions.names import check_name, check_tuple
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Type

if TYPE_CHECKING:
    from tailrace.definitions.view import FeatureView

# Takes one numpy array per input, and `now` as a numpy datetime64[us] if it asks for it; returns one array.
Vectorised = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class OnDemandFeature:
    """A feature computed from other features when they are read, vectorised over numpy arrays.

    A row with a null among its inputs is null and not computed; a result of NaN or NaT is null too. A function
    with the argument `now` also gets the time of the request, as a numpy datetime64.
    """

    name: str
    type: Type
    inputs: tuple[str, ...]
    owner: str
    description: str
    compute: Vectorised

    def __post_init__(self) -> None:
        here = f"on-demand feature {self.name!r}, field 'inputs'"
        check_tuple(self.inputs, str, of=here, example="('view:feature',)")

    @property
    def wants_now(self) -> bool:
        """Whether it is computed from the time of reading, too."""
        return "now" in inspect.signature(self.compute).parameters

    def check(self, views: "Mapping[str, FeatureView]") -> None:
        """Raise `DefinitionError` for a name or an input that cannot be used."""
        here = f"on-demand feature {self.name!r}, field 'inputs'"
        if self.name in views:
            raise DefinitionError(f"on-demand feature {self.name!r}: a view has that name; choose another")
        if not self.inputs:
            raise DefinitionError(f"{here}: name at least one feature as view:feature")
        for reference in self.inputs:
            check_reference(reference, views, here=here)


def on_demand(
    *, type: Type, inputs: tuple[str, ...], owner: str, description: str
) -> Callable[[Vectorised], OnDemandFeature]:
    """Declare the decorated function as an on-demand feature of its own name.

    `inputs` name features as `view:feature`, in the order of the function's arguments.
    """

    def declare(compute: Vectorised) -> OnDemandFeature:
        name = compute.__name__
        check_name(name, of="an on-demand feature's name")
        return OnDemandFeature(
            name=name, type=type, inputs=inputs, owner=owner, description=description, compute=compute
        )

    return declare


@dataclass(frozen=True, kw_only=True)
class FeatureService:
    """A named list of `view` (all its features), `view:feature` and on-demand features: what one ranker asks for."""

    name: str
    features: tuple[str, ...]
    owner: str
    description: str

    def __post_init__(self) -> None:
        check_tuple(self.features, str, of=f"service {self.name!r}, field 'features'", example="('view',)")

    def check(self, views: "Mapping[str, FeatureView]", on_demand: Mapping[str, OnDemandFeature]) -> None:
        """Raise `DefinitionError` for a name or a feature that cannot be used."""
        here = f"service {self.name!r}, field 'features'"
        check_name(self.name, of=f"service {self.name!r}, field 'name'")
        if not self.features:
            raise DefinitionError(f"{here}: name at least one view or feature")
        for reference in self.features:
            if reference not in on_demand and reference not in views:
                check_reference(reference, views, here=here)


def check_reference(reference: str, views: "Mapping[str, FeatureView]", *, here: str) -> None:
    """Raise `DefinitionError` for a `view:feature` that is not there."""
    view, _, name = reference.partition(":")
    if view not in views:
        raise DefinitionError(f"{here}: {reference!r} names no view; there are {', '.join(sorted(views))}")
    if name not in views[view].feature_names:
        raise DefinitionError(f"{here}: view {view!r} has no feature {name!r}")
