"""What a language model thinks of a document, written by whoever asks it: `POST /v1/write`."""

from datetime import timedelta

from tailrace.definitions import DIRECT, Feature, FeatureView, Type
from tailrace.shipped.entities import DOCUMENT

document_relevance = FeatureView(
    name="document_relevance",
    entities=(DOCUMENT,),
    owner="search-quality",
    description="Scores that an evaluation pipeline gives a document.",
    freshness=timedelta(minutes=1),
    lane=DIRECT,
    written_features=(
        Feature("relevance", Type.FLOAT64, "from 0 to 1", minimum=0, maximum=1),
        Feature("judged_by", Type.STRING, "the model", longest=128),
    ),
)
