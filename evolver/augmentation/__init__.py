"""Derive more lessons from verified traces."""
