"""Making the agent better from its own work."""
