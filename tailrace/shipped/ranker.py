"""What the search ranker asks for with every query."""

from tailrace.definitions import FeatureService

ranker = FeatureService(
    name="ranker",
    features=(
        "document_activity",
        "actor_activity",
        "actor_document_affinity",
        "document_profile",
        "document_relevance",
        "hours_since_last_edit",
        "edit_trend",
    ),
    owner="search-ranking",
    description="Everything the first-stage ranker scores a candidate document with.",
)
