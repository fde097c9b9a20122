"""The workspace: refresh, verify, reconcile and look-ups of one home, as Python."""
