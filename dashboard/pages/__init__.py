"""The pages: a function for each, from a visit to a response."""
