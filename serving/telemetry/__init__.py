"""Telemetry of the reader for operators: metrics over all its processes, a log of requests, traces."""
