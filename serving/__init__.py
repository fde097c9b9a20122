"""The reader: rankers ask over HTTP, in Feast's JSON, and get the features of many entity keys at once."""

from serving.common.failure import ServingError
from serving.process.workers import run

__all__ = ["ServingError", "run"]
