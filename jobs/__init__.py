"""The jobs of each layer: pure transforms, and a thin `run` that reads, transforms and writes."""
