"""Modules that all parts of the reader share: the request as it was asked, messages, pace."""
