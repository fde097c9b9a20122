"""The only door to the online store: wire client, value codec, item keys, control items, embedded store."""
