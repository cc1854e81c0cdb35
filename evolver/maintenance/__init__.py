"""Keep the data folder healthy: forget, back up, tidy, audit."""
