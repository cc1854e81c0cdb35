"""Find the places of values in texts."""
