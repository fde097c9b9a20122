"""Names of the HTTP interface that the reader and its client share."""

FEATURES_PATH, WRITE_PATH = "/get-online-features", "/v1/write"
BUDGET_HEADER = "Tailrace-Budget-Ms"
IDEMPOTENCY_HEADER = "Idempotency-Key"

FEAST, COMPACT = "application/json", "application/vnd.tailrace.columns+json"
ARROW = "application/vnd.apache.arrow.stream"
ARROW_METADATA = b"tailrace"  # key of the schema's metadata that has views, and where statuses and times are

PRESENT = "PRESENT"  # the status of a row that has a value
