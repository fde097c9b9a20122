"""Downloads that are not Python packages, by checksum: Delta's and Kafka's JARs, and the embedded store's program."""
