"""The language feature definitions are written in."""

from tailrace.definitions.aggregations.count import Count
from tailrace.definitions.aggregations.distinct import Distinct
from tailrace.definitions.aggregations.extremes import FirstValue, LastValue, Max, Min
from tailrace.definitions.aggregations.first_last import First, Last
from tailrace.definitions.aggregations.moments import Mean, StdDev, Variance
from tailrace.definitions.aggregations.newest_is import NewestIs
from tailrace.definitions.aggregations.sum import Sum
from tailrace.definitions.batch_view import BatchView
from tailrace.definitions.declared_source import EventSource, TableSource
from tailrace.definitions.definitions import Definitions
from tailrace.definitions.derived_source import DerivedSource, Lookup
from tailrace.definitions.direct_view import DirectView
from tailrace.definitions.fields import Delta, Field, Kafka, Landing, Time
from tailrace.definitions.load import load_anew, load_definitions
from tailrace.definitions.names import Entity, Window
from tailrace.definitions.services import FeatureService, OnDemandFeature, on_demand
from tailrace.definitions.stream_view import StreamView
from tailrace.definitions.view import BATCH, DIRECT, STREAM, FeatureView
from tailrace.errors import DefinitionError
from tailrace.schemas.tables import Column as Feature
from tailrace.schemas.tables import Type
from tailrace.schemas.types import List, Vector

BOOL, DATE, FLOAT32, FLOAT64, INT64, STRING, TIMESTAMP = (
    Type.BOOL,
    Type.DATE,
    Type.FLOAT32,
    Type.FLOAT64,
    Type.INT64,
    Type.STRING,
    Type.TIMESTAMP,
)

__all__ = [
    "BATCH",
    "BOOL",
    "DATE",
    "DIRECT",
    "FLOAT32",
    "FLOAT64",
    "INT64",
    "STREAM",
    "STRING",
    "TIMESTAMP",
    "BatchView",
    "Count",
    "DefinitionError",
    "Definitions",
    "Delta",
    "DerivedSource",
    "DirectView",
    "Distinct",
    "Entity",
    "EventSource",
    "Feature",
    "FeatureService",
    "FeatureView",
    "Field",
    "First",
    "FirstValue",
    "Kafka",
    "Landing",
    "Last",
    "LastValue",
    "List",
    "Lookup",
    "Max",
    "Mean",
    "Min",
    "NewestIs",
    "OnDemandFeature",
    "StdDev",
    "StreamView",
    "Sum",
    "TableSource",
    "Time",
    "Type",
    "Variance",
    "Vector",
    "Window",
    "load_anew",
    "load_definitions",
    "on_demand",
]
