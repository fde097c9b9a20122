"""HTTP's own business: bodies, budgets, admission, negotiation, errors."""
