"""Take over logs that were made elsewhere: their turns go into the interaction log."""
