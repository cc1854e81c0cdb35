"""Long tests of durability, run by ``make soak``: kills at random moments, and mutations of the code."""
