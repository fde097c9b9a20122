"""What was changed in a repository: features by file, by folder and hour, and by folder, of commits."""

from datetime import timedelta
from typing import Any

from tailrace import INT64, STRING, Count, Distinct, Entity, EventSource, FeatureView, Field, First, Last, Sum, Time

changes = EventSource(
    name="changes",
    description="A file in a commit.",
    id=("commit", "changed"),
    time=Time("at", unit="s"),
    fields=(
        Field("commit", STRING),
        Field("changed", STRING, path="$.path"),
        Field("folder", STRING, required=True),
        Field("hour", INT64, "of the day", required=True, minimum=0, maximum=23),
        Field("added", INT64, "lines; null for what has none", path="$.lines.added"),
        Field("deleted", INT64, path="$.lines.deleted"),
    ),
)

CHANGED = Entity(name="file", key="changed")
FOLDER = Entity(name="folder", key="folder")
HOUR = Entity(name="hour", key="hour", type=INT64)
FACTS: dict[str, Any] = {"source": changes, "owner": "tests", "description": "", "freshness": timedelta(hours=1)}

by_path = FeatureView(
    name="by_path",
    entities=(CHANGED,),
    aggregations=(
        Count(name="changes", over=("24h", "3d", "total")),
        Sum(name="added", of="added", over=("24h", "total")),
        First(name="first_at"),
        Last(name="last_at"),
    ),
    **FACTS,
)

by_folder_hour = FeatureView(
    name="by_folder_hour",
    entities=(FOLDER, HOUR),
    where="added > deleted",
    aggregations=(Count(name="growths", over=("24h", "3d")), Sum(name="deleted", of="deleted", over=("3d",))),
    **FACTS,
)

by_folder = FeatureView(
    name="by_folder",
    entities=(FOLDER,),
    aggregations=(
        Count(name="changes", over=("24h", "total")),
        Distinct(name="hours", rows_of="by_folder_hour", active="growths", over=("24h", "3d")),
    ),
    **FACTS,
)
