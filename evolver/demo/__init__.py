"""The demo: one evolution cycle from an empty data folder."""
