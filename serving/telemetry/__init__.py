"""What operators see of the reader: metrics over all its processes, a log of requests, traces."""
