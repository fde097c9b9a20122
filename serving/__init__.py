"""The reader: rankers ask over HTTP, in Feast's JSON, and get the features of many entity keys at once."""
