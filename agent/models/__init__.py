"""Models: their profiles, their chat templates, and the folders that they lie in."""
