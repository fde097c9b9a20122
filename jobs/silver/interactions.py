"""Silver interactions: one row per thing a person did, however often it was delivered."""

from pyspark.sql import DataFrame

from jobs.silver.excluded import TakenBack
from jobs.silver.last_delivery import keep_last_delivery, merge_unread
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, silver


def run(lake: Lake) -> TakenBack:
    return merge_unread(lake, source=bronze.EVENTS, target=silver.INTERACTIONS, transform=to_interactions)


def to_interactions(events: DataFrame) -> DataFrame:
    """Turn `bronze.EVENTS` into `silver.INTERACTIONS`."""
    return keep_last_delivery(events, of="event_id").select(*silver.INTERACTIONS.columns)
