"""What answers at the routes beside reading: writes and metrics."""
