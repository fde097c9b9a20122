"""The language feature definitions are written in."""

from contracts.tables import Column as Feature
from contracts.tables import Type
from features.language.aggregation import Count, Distinct, First, Last, NewestIs, Sum
from features.language.entity import Entity
from features.language.generated import windows_of
from features.language.load import Definitions, load_anew, load_definitions
from features.language.on_demand import OnDemandFeature, on_demand
from features.language.problem import DefinitionError
from features.language.service import FeatureService
from features.language.view import BATCH, DIRECT, STREAM, FeatureView
from features.language.window import Window

__all__ = [
    "BATCH",
    "DIRECT",
    "STREAM",
    "Count",
    "DefinitionError",
    "Definitions",
    "Distinct",
    "Entity",
    "Feature",
    "FeatureService",
    "FeatureView",
    "First",
    "Last",
    "NewestIs",
    "OnDemandFeature",
    "Sum",
    "Type",
    "Window",
    "load_anew",
    "load_definitions",
    "on_demand",
    "windows_of",
]
