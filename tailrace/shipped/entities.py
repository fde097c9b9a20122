"""What the shipped features describe."""

from tailrace.definitions import Entity

ACTOR = Entity("actor", "actor_id", "a person, or a program acting for one")
DOCUMENT = Entity("document", "document_id", "anything that can be opened, edited or shared")
