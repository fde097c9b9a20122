"""Run by Feast's own Python in its repository: define what is in the Parquet file, and write it online as Feast does.

usage: load_feast.py REPOSITORY PARQUET VIEW KEY
"""

import sys
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Bool, FeastType, Float64, Int64, String, UnixTimestamp

TIME = "event_timestamp"


def feast_type(column: str) -> FeastType:
    if column.startswith("timestamp"):
        return UnixTimestamp
    return {"int64": Int64, "double": Float64, "bool": Bool, "string": String}[column]


def main(repository: str, parquet: str, view: str, key: str) -> None:
    columns = [column for column in pq.read_schema(parquet) if column.name not in (key, TIME)]
    document = Entity(name="document", join_keys=[key], value_type=ValueType.STRING)
    features = FeatureView(
        name=view,
        entities=[document],
        ttl=timedelta(days=36500),
        schema=[Field(name=column.name, dtype=feast_type(str(column.type))) for column in columns],
        source=FileSource(name=f"{view}_file", path=parquet, timestamp_field=TIME),
        online=True,
    )
    store = FeatureStore(repo_path=repository)
    store.apply([document, features])
    store.materialize(datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), [view])


if __name__ == "__main__":
    main(*sys.argv[1:])
