"""Compose the stages into cycles, and schedule them."""
