"""Mine the interaction log for requests."""
