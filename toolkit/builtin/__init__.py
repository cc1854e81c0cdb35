"""The tools that come with apprentice, one module per family."""
