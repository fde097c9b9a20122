"""Gold: one row of features per entity key, merged: only real differences change."""
