"""Silver: one row per event and per document, the last delivery of each."""
