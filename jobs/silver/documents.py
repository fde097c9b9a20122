"""Silver documents: the current facts of each document."""

from pyspark.sql import DataFrame

from jobs.silver.excluded import TakenBack
from jobs.silver.last_delivery import keep_last_delivery, merge_unread
from tailrace.lake.tables import Lake
from tailrace.schemas import bronze, silver


def run(lake: Lake) -> TakenBack:
    return merge_unread(lake, source=bronze.DOCUMENTS, target=silver.DOCUMENTS, transform=to_documents)


def to_documents(deliveries: DataFrame) -> DataFrame:
    """Turn `bronze.DOCUMENTS` into `silver.DOCUMENTS`."""
    return keep_last_delivery(deliveries, of="document_id").select(*silver.DOCUMENTS.columns)
