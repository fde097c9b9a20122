"""The online store, and nothing else opens it: wire client, value codec, item keys, control items, embedded store."""
