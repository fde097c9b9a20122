"""Measurements against the naive way, both in one run."""
