"""Compare texts, and say which values a text states."""
