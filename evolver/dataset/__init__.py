"""Build the training dataset."""
