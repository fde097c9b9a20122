"""The quality gate: what rows have to meet before a table takes them."""
