"""The ledger: what each run of the publisher did, a row per view."""

from tailrace.schemas.tables import Column, Table, Type

RUNS = Table(
    layer="ledger",
    name="runs",
    fields=(
        Column("run", Type.STRING, "the run; all its views have it in common", nullable=False),
        Column("started_at", Type.TIMESTAMP, "when the run began", nullable=False),
        Column("view", Type.STRING, "the view", nullable=False),
        Column("how", Type.STRING, "changes, first load, snapshot, nothing new or repair; null where the push failed"),
        Column("why", Type.STRING, "what made a snapshot necessary"),
        Column("failure", Type.STRING, "why the push stopped; null where it did not"),
        Column("allowed", Type.STRING, "the reason that was given to let a large change through"),
        Column("as_of", Type.TIMESTAMP, "the time that the store's values hold for after the push"),
        Column("sequence", Type.INT64, "the sequence that its writes carry"),
        Column("change_rows", Type.INT64, "rows of gold's change feed, or rows compared in a snapshot"),
        Column("net", Type.INT64, "keys that these came to: pushed + removed + suppressed + stale"),
        Column("pushed", Type.INT64, "values written"),
        Column("removed", Type.INT64, "values removed"),
        Column("suppressed", Type.INT64, "keys whose value in the store was equal"),
        Column("stale", Type.INT64, "writes refused because the store had a newer value"),
        Column("bytes", Type.INT64, "bytes of the values written"),
        Column("requests", Type.INT64, "requests that carried the writes, those made again included"),
        Column("bytes_sent", Type.INT64, "bytes of these requests"),
        Column("seconds", Type.FLOAT64, "time of the push"),
        Column(
            "confirmed_at", Type.TIMESTAMP, "when the store had all of it, cursor and watermark; null where it failed"
        ),
        Column("write_seconds", Type.FLOAT64, "of it, from the first write to the last"),
    ),
    key=("run", "view"),
    statistics=("started_at",),
)
