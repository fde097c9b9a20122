"""The shipped definitions by name: drop those that you do not want, and write your own next to them."""

from tailrace.shipped.actor_activity import actor_activity
from tailrace.shipped.actor_document_affinity import actor_document_affinity
from tailrace.shipped.actor_document_recent import actor_document_recent
from tailrace.shipped.document_activity import document_activity, edit_trend, hours_since_last_edit
from tailrace.shipped.document_profile import document_profile
from tailrace.shipped.document_recent import document_recent
from tailrace.shipped.document_relevance import document_relevance
from tailrace.shipped.ranker import ranker

__all__ = [
    "actor_activity",
    "actor_document_affinity",
    "actor_document_recent",
    "document_activity",
    "document_profile",
    "document_recent",
    "document_relevance",
    "edit_trend",
    "hours_since_last_edit",
    "ranker",
]
