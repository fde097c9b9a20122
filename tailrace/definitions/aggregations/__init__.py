"""Aggregations, one file each; `docs/add-a-feature.md` shows how to add one."""
