"""Lanes: the ways by which a view's values come into the online store."""

BATCH = "batch"  # refreshed from silver, by way of gold
STREAM = "stream"  # kept by the stream from each event within seconds; what is stored does not depend on the clock
DIRECT = "direct"  # written to the store by whoever has the values
LANES = (BATCH, STREAM, DIRECT)
