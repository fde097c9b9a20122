"""Feature definitions: every module in this folder is read, nothing else lists them."""
