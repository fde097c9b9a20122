"""What `make setup` does: the Python environment, the JARs and the embedded store, all of them pinned."""
