"""Feature definitions that come with Tailrace: every module in this folder is read, nothing else lists them."""
