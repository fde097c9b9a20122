"""The demo: the whole way on real input, with its figures."""
