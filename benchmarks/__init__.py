"""Measurements of speed, memory and learning. Run one with ``python -m benchmarks.NAME`` or ``make bench-NAME``."""
