"""Bronze: what landed, each delivery once; what cannot be used goes to quarantine with its reason."""
