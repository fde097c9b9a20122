"""Gold: one row of features per entity key, merged so that only real differences change."""
