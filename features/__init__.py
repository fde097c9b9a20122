"""Feature definitions of this checkout, an example of a folder that TAILRACE_FEATURES names."""
