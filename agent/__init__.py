"""One conversation, and serving it."""
