"""Applications of real frameworks that learn from their own unlabelled traffic: `make bench-clients`."""
