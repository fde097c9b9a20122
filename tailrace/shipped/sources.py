"""What the shipped features are computed from: who did what to which document, and what is known of a document."""

from tailrace.definitions import EventSource, Field, Kafka, Landing, TableSource, Time, Type

events = EventSource(
    name="events",
    description="What was done, who did it, what it was done to, and when.",
    id="event_id",
    time=Time("occurred_at"),
    type="event_type",
    attributes="attributes",
    fields=(
        Field("event_id", Type.STRING, "the producer's id; a re-delivery carries the same"),
        Field(
            "event_type",
            Type.STRING,
            "what was done, such as view or edit",
            required=True,
            pattern="[a-z][a-z0-9_]{0,62}",
        ),
        Field("actor_id", Type.STRING, "who did it", required=True, id=True),
        Field("document_id", Type.STRING, "what it was done to", required=True, id=True),
        Field("occurred_at", Type.TIMESTAMP, "when it was done"),
        Field("source", Type.STRING, "the connector that delivered it"),
        Field("attributes", Type.STRING, "further facts as a JSON object", json=True),
    ),
    read_from=(Landing(), Kafka()),
    silver="interactions",
    unnamed=True,
)

documents = TableSource(
    name="documents",
    description="What is known of a document.",
    key="document_id",
    fields=(
        Field("document_id", Type.STRING, "the document", path="$.id"),
        Field("title", Type.STRING, "its title"),
        Field("type", Type.STRING, "its kind, such as doc or pdf"),
        Field("size_bytes", Type.INT64, "its size in bytes", path="$.size", minimum=0),
        Field("folder", Type.STRING, "the folder it lies in, separated by /"),
        Field("owner", Type.STRING, "the actor who owns it", id=True),
        Field("updated_at", Type.TIMESTAMP, "when these facts became true"),
    ),
)
