"""The reader's processes: parent, workers, sockets."""
