"""What a document is, whoever reads it."""

from datetime import timedelta
from typing import Any

from tailrace.definitions import Feature, FeatureView, Type
from tailrace.shipped.entities import DOCUMENT


def profile(documents: Any) -> Any:
    """Describe each row of silver documents; the root folder, `/` or empty, has depth 0."""
    from pyspark.sql import functions as F

    folder = F.regexp_replace("folder", "/+$", "")
    return documents.select(
        "document_id",
        "type",
        "size_bytes",
        F.regexp_count(folder, F.lit("/")).cast("bigint").alias("folder_depth"),
        "owner",
        F.length("title").cast("bigint").alias("title_length"),
        "updated_at",
    )


def changed_documents(documents: Any) -> Any:
    """The documents whose facts changed: a row of the profile depends on one row of documents."""
    return documents.select("document_id")


document_profile = FeatureView(
    name="document_profile",
    entities=(DOCUMENT,),
    owner="search-ranking",
    description="Type, size, place and owner of a document.",
    freshness=timedelta(hours=1),
    transform=profile,
    changed_keys=changed_documents,
    transform_features=(
        Feature("type", Type.STRING, "kind of document, such as doc or pdf"),
        Feature("size_bytes", Type.INT64, "size in bytes"),
        Feature("folder_depth", Type.INT64, "separators in the folder's path, 0 at the root"),
        Feature("owner", Type.STRING, "the actor who owns it"),
        Feature("title_length", Type.INT64, "characters in the title"),
        Feature("updated_at", Type.TIMESTAMP, "when these facts became true"),
    ),
)
