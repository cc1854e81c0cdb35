"""Adapter folders, and which adapter is active."""
