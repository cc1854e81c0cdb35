"""The evolver command."""
