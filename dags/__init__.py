"""The DAGs: when what runs, in which order, with which parameters."""
