"""Score a model, and decide whether it may serve."""
