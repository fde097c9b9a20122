"""Streaming: what a topic brings goes to the online store within seconds."""
