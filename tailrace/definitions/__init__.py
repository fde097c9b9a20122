"""The language feature definitions are written in."""

from tailrace.definitions.aggregations.count import Count
from tailrace.definitions.aggregations.distinct import Distinct
from tailrace.definitions.aggregations.first_last import First, Last
from tailrace.definitions.aggregations.newest_is import NewestIs
from tailrace.definitions.aggregations.sum import Sum
from tailrace.definitions.entity import Entity
from tailrace.definitions.generated import windows_of
from tailrace.definitions.lane import BATCH, DIRECT, STREAM
from tailrace.definitions.load import Definitions, load_anew, load_definitions
from tailrace.definitions.on_demand import OnDemandFeature, on_demand
from tailrace.definitions.problem import DefinitionError
from tailrace.definitions.service import FeatureService
from tailrace.definitions.view import FeatureView
from tailrace.definitions.window import Window
from tailrace.schemas.tables import Column as Feature
from tailrace.schemas.tables import Type

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
