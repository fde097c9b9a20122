"""On-demand features: finished when they are read, because they depend on the clock or on other views."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tailrace.definitions.problem import check_name
from tailrace.schemas.tables import Type

# Takes one numpy array per input, and `now` as a numpy datetime64[us] if it asks for it; returns one array.
Vectorised = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class OnDemandFeature:
    """A feature computed from other features, vectorised over numpy arrays.

    A row with a null among its inputs is null and not computed; a result of NaN or NaT is null too. The same
    function serves readers and training sets.
    """

    name: str
    type: Type
    inputs: tuple[str, ...]
    owner: str
    description: str
    compute: Vectorised

    @property
    def wants_now(self) -> bool:
        return "now" in inspect.signature(self.compute).parameters


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
