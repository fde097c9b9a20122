"""The endpoints besides reading: writes and metrics."""
