"""Carry out the jobs of a cycle."""
