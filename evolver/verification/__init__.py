"""Decide which traces may be learned."""
