"""The view that `tailrace bench serving` reads: as many features, of as many types, as a ranker's view of documents has."""

from datetime import timedelta

from tailrace.definitions import DIRECT, Feature, FeatureView, Type
from tailrace.shipped.entities import DOCUMENT

WINDOWS = ("1h", "24h", "7d", "30d")

document_ranking = FeatureView(
    name="document_ranking",
    entities=(DOCUMENT,),
    owner="bench",
    description="Counts, shares, times and facts of a document.",
    freshness=timedelta(days=1),
    lane=DIRECT,
    written_features=(
        *(
            Feature(f"{name}_{window}", Type.INT64, f"{name} of the last {window}")
            for name in ("events", "views", "edits")
            for window in WINDOWS
        ),
        *(
            Feature(f"{name}_share", Type.FLOAT64, f"the part of events that are {name}")
            for name in ("view", "edit", "comment", "share")
        ),
        Feature("edit_trend", Type.FLOAT64, "edits of the last day over the week's mean; null without an edit"),
        Feature("first_event_at", Type.TIMESTAMP, "the first event"),
        Feature("last_event_at", Type.TIMESTAMP, "the last event"),
        Feature("last_edit_at", Type.TIMESTAMP, "the last edit"),
        Feature("is_shared", Type.BOOL, "whether it was ever shared"),
        Feature("is_template", Type.BOOL, "whether others are made from it"),
        Feature("type", Type.STRING, "what it is"),
        Feature("owner", Type.STRING, "whose it is"),
    ),
)
