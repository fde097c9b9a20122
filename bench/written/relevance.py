"""The view that `tailrace bench direct` writes: a score of a model, as an evaluation pipeline would."""

from datetime import timedelta

from tailrace.definitions import DIRECT, Feature, FeatureView, Type
from tailrace.shipped.entities import DOCUMENT

relevance = FeatureView(
    name="relevance",
    entities=(DOCUMENT,),
    owner="bench",
    description="What a model thinks of a document.",
    freshness=timedelta(minutes=1),
    lane=DIRECT,
    written_features=(
        Feature("score", Type.FLOAT64, "from 0 to 1", minimum=0, maximum=1),
        Feature("model", Type.STRING, "which model", longest=64),
        Feature("tokens", Type.INT64, "how many it read"),
    ),
)
