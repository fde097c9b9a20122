"""The direct lane: values written one by one, ordered by event time, logged before and after they reach the store."""
