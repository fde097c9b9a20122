"""From gold's change feed to the online store: net changes, sequenced writes, reconciliation."""
