"""From entity keys to columns: plan, read, decode, finish."""
