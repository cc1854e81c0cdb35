"""The HTTP server for people and programs."""
