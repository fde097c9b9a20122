"""Tailrace: a feature store for search ranking that ships only what changed. The command line and the demo."""
